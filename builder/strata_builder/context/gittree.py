"""What a fetched commit holds, read from its objects before any of its files is written."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path

from strata_builder import errors
from strata_builder.context import gitfaults, gitprogram, submodules
from strata_builder.frozen import frozen


@frozen
class CommitTree:
    """The tree of `commit`, whose objects are in the repository at `folder`."""

    session: gitprogram.Session
    folder: Path
    commit: str

    def is_folder(self, path: str) -> bool | None:
        """None for what is not there, and for a submodule, whose commit is elsewhere."""
        entry = self.at(path)
        return None if entry is None or entry.is_submodule else stat.S_ISDIR(int(entry.mode, 8))

    def below(self, *paths: str) -> list[submodules.Entry]:
        """Every file, link and submodule, at and below `paths` if some are given."""
        return submodules.entries(self.git("ls-tree", "-r", "-l", "-z", "--full-tree", self.commit, "--", *paths))

    def names(self) -> list[submodules.Entry]:
        """Every file, link and submodule, without sizes: these would need the files themselves."""
        return submodules.entries(self.git("ls-tree", "-r", "-z", "--full-tree", self.commit))

    def missing(self) -> set[str]:
        """Names of the objects that the server has kept back."""
        listing = self.git("rev-list", "--objects", "--no-walk", "--missing=print", self.commit)
        return {line[1:].decode() for line in listing.splitlines() if line.startswith(b"?")}

    def at(self, path: str) -> submodules.Entry | None:
        """Without its size."""
        listing = self.git("ls-tree", "-z", "--full-tree", self.commit, "--", path)
        return next((entry for entry in submodules.entries(listing) if entry.path == path), None)

    def submodule_on(self, path: str) -> submodules.Entry | None:
        """Where `path` enters a submodule, perhaps at its end."""
        for part in itertools.accumulate(path.split("/"), "{}/{}".format):
            entry = self.at(part)
            if entry is not None and entry.is_submodule:
                return entry
        return None

    def declared(self) -> dict[str, submodules.Declared]:
        """What .gitmodules says, by path. Raises InvalidSpec if it is no file of sensible size."""
        entry = next(iter(self.below(submodules.CONFIG)), None)
        if entry is None:
            return {}
        if not stat.S_ISREG(int(entry.mode, 8)) or entry.size > submodules.MAX_CONFIG:
            raise errors.InvalidSpec(
                f"{submodules.CONFIG} of {self.session.url} is a link, a folder, or far too large",
                hint="let it be a file that git submodule has written",
            )
        blob = f"{self.commit}:{submodules.CONFIG}"
        return submodules.declared(self.git("config", "--no-includes", "--blob", blob, "--null", "--list"))

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What git writes; nothing of it depends on the remote any more. Raises SourceNotFound, StorageLimitExceeded."""
        try:
            return self.session.run(*arguments, cwd=self.folder, stdin=stdin)
        except gitprogram.GitFailed as e:
            raise _local_failure(e, self.session) from None


def _local_failure(failure: gitprogram.GitFailed, session: gitprogram.Session) -> errors.BuildError:
    """What fails after the fetch is the disk, or a broken repository."""
    said = gitfaults.last_lines(session.credentials.redact(failure.stderr))
    if "No space left" in failure.stderr:
        return errors.StorageLimitExceeded(f"there is no space to check out {session.url}: {said}")
    return errors.SourceNotFound(f"cannot check out {session.url}: {said}")
