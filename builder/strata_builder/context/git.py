"""One commit of a git repository as a folder: only that commit's files, with git's two modes and without `.git`.

Submodules are fetched one by one in the same way, by the commits that the tree names: `git submodule` is never run, so
nothing that a repository says becomes a setting or a program.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import gitobjects, gitprogram, gitref, gitremote, gittree, headers, limits, submodules
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.contract import GitSource, SourceResult
from strata_builder.frozen import field, frozen, replace
from strata_builder.layers import folders

DEFAULT_LIMIT: Final = 2 << 30


@frozen
class Checkout:
    """`folder` is the source's sub-folder; its files are 0644 or 0755. `source` is what was fetched, for the result;
    `time` when it last changed: of a commit its own, of an archive what its server says, else that of its newest file.
    `plain` says that it was one file and no archive."""

    folder: Path
    source: SourceResult
    time: int | None = None
    plain: bool = False


def fetch(
    source: GitSource,
    dest: Path,
    credentials: Credentials | None = None,
    *,
    checksum: str = "",
    limit: int = DEFAULT_LIMIT,
    keep_git_dir: bool = False,
    timeout: float = 3600,
    settings: gitprogram.Settings = gitprogram.DEFAULTS,
    local: bool = False,
) -> Checkout:
    """The commit `source.commit`, else where `source.revision` stands now, below `dest`, which is empty or absent.

    `checksum` is how the name of that commit (or of an annotated tag on it) must begin. `limit` is the most bytes that may
    arrive, and that the files may have, those of submodules included; `timeout` is in seconds; `local` allows file:// URLs,
    but not of submodules. Raises InvalidSpec, SourceNotFound, SourceAuthFailed, ReferenceNotFound, SourceUnavailable,
    StorageLimitExceeded; what has arrived by then is the caller's to remove.
    """
    url = gitref.parse_url(source.url, local=local)
    source = replace(source, path=gitref.check_folder(source.path))
    gitref.check_revision(source.revision)
    if source.commit and not gitref.is_commit(source.commit):
        raise errors.InvalidSpec(f"{gitref.shown(source.commit)!r} is not a whole commit")
    with gitprogram.session(url, credentials or ANONYMOUS, settings, timeout=timeout) as session:
        return _Fetch(session, source, dest, limits.Budget(limit), settings, checksum).run(keep_git_dir)


@frozen
class _Fetch:
    session: gitprogram.Session
    source: GitSource
    dest: Path
    budget: limits.Budget
    settings: gitprogram.Settings
    checksum: str = ""
    depth: int = 0
    number: Iterator[int] = field(default_factory=itertools.count)  # of submodules, counted over all of the source

    def run(self, keep_git_dir: bool) -> Checkout:
        objects = gitobjects.Objects(self.session, self.dest, self.budget)
        partial = bool(self.source.path) and not keep_git_dir and self.session.can_be_partial()
        tree = objects.bring(self._wanted(), partial=partial)
        inside = self._check_folder(tree)
        if partial:
            objects.bring_files(tree, inside.path if inside else self.source.path)
        wanted = [inside] if inside else self._measure(tree)
        known = tree.declared() if wanted else {}
        self._write_files(tree, inside.path if inside else self.source.path)
        result = self._describe(tree)
        self._finish(keep_git_dir, tree)
        for entry in wanted:
            self._bring_submodule(entry, known)
        if not (self.dest / self.source.path).is_dir():
            raise self._no_folder("lies in a submodule that is not to be fetched (update = none)", tree)
        return Checkout(self.dest / self.source.path, result, result.time or None)

    def _wanted(self) -> str:
        named = self.source.commit or self.source.revision
        found = gitremote.Resolved("", named) if gitref.is_commit(named) else gitremote.ask(self.session, named)
        if not found.commit.startswith(self.checksum) and not (found.tag and found.tag.startswith(self.checksum)):
            raise errors.ReferenceNotFound(
                f"{self.session.url} has {found.name or 'the commit'} at {found.commit}, and the checksum asks for "
                f"{self.checksum}",
                hint="it has moved: if that is right, write its new commit",
            )
        return found.commit

    # checking before anything is written

    def _check_folder(self, tree: gittree.CommitTree) -> submodules.Entry | None:
        """The submodule in which the folder lies, if it lies in one. Raises SourceNotFound if it is nowhere."""
        path = self.source.path
        is_folder = tree.is_folder(path) if path else True
        if is_folder:
            return None
        if self.source.submodules and (inside := tree.submodule_on(path)):
            return inside
        raise self._no_folder("does not exist" if is_folder is None else "is not a folder", tree)

    def _no_folder(self, what: str, tree: gittree.CommitTree) -> errors.SourceNotFound:
        return errors.SourceNotFound(
            f"the path {self.source.path!r} {what} in {self.session.url} at {tree.commit[:12]}",
            hint="a path through a symlink is not followed; write the folder's own path",
        )

    def _measure(self, tree: gittree.CommitTree) -> list[submodules.Entry]:
        """Counts what is going to be written; gives the submodules that are wanted."""
        found = tree.below(*([self.source.path] if self.source.path else []))
        for entry in found:
            self.budget.entry()
            self.budget.take(entry.size)
        return [entry for entry in found if entry.is_submodule] if self.source.submodules else []

    # submodules

    def _bring_submodule(self, entry: submodules.Entry, known: dict[str, submodules.Declared]) -> None:
        url = submodules.url_of(entry.path, known, self.session.url)
        if url is None:
            return
        if self.depth >= submodules.MAX_DEPTH or next(self.number) >= submodules.MAX_COUNT:
            raise errors.InvalidSpec(
                f"{self.session.url} has more than {submodules.MAX_COUNT} submodules, or more than "
                f"{submodules.MAX_DEPTH} within each other",
                hint="leave submodules out (?submodules=false in the URL, submodules: false)",
            )
        self._check_place(entry.path)
        inside = self.source.path[len(entry.path) + 1 :] if self._holds_folder(entry.path) else ""
        source = GitSource(url.address, commit=entry.name, path=inside)
        try:
            self._fetch_submodule(url, source, self.dest / entry.path)
        except errors.BuildError as e:
            e.message = f"submodule {entry.path!r}: {e.message}"
            raise

    def _holds_folder(self, path: str) -> bool:
        return f"{self.source.path}/".startswith(f"{path}/")

    def _check_place(self, path: str) -> None:
        """An empty folder of its own, reached through no link: a tree that no git wrote may hold one on the way."""
        try:
            with folders.Folders(self.dest) as below:
                below.fd(path.encode("utf-8", "surrogateescape"))
            is_empty = not any((self.dest / path).iterdir())
        except OSError:
            is_empty = False
        if not is_empty:
            raise errors.InvalidSpec(f"the submodule at {path!r} of {self.session.url} has no folder of its own")

    def _fetch_submodule(self, url: gitref.GitUrl, source: GitSource, dest: Path) -> None:
        credentials = submodules.credentials_for(url, self.session.url, self.session.credentials)
        settings = replace(self.settings, pinned="")
        left = max(self.session.deadline - time.monotonic(), 1.0)
        with gitprogram.session(url, credentials, settings, timeout=left) as session:
            inner = _Fetch(session, source, dest, self.budget, settings, "", self.depth + 1, self.number)
            inner.run(keep_git_dir=False)

    # writing

    def _write_files(self, tree: gittree.CommitTree, path: str) -> None:
        """The whole index is read, so that attributes above `path` count; only what lies there is written."""
        tree.git("read-tree", "--reset", tree.commit)
        names = tree.git("ls-files", "-z", "--", *([f":(top,literal){path}"] if path else []))
        tree.git("checkout-index", "--quiet", "--force", "-u", "-z", "--stdin", stdin=names)
        (self.dest / path).mkdir(parents=True, exist_ok=True)

    def _describe(self, tree: gittree.CommitTree) -> SourceResult:
        form = "--format=%s%x00%an%x00%ct"
        output = tree.git("log", "-1", "--no-show-signature", "--encoding=UTF-8", form, tree.commit)
        message, author, written = output.decode("utf-8", "replace").rstrip("\n").split("\0")
        when = min(int(written or 0), headers.MAX_TIME)  # whoever made the commit may have said anything
        return SourceResult(self.source.revision, tree.commit, _line(message), _line(author), when)

    def _finish(self, keep_git_dir: bool, tree: gittree.CommitTree) -> None:
        if keep_git_dir:
            tree.git("update-ref", "--no-deref", "HEAD", tree.commit)
            tree.git("config", "remote.origin.url", self.session.url.address)
        else:
            shutil.rmtree(self.dest / ".git")


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:256].strip()
