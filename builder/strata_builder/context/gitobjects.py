"""The objects of one commit, fetched from its remote: that commit alone, and for a sub-folder only the files below it.

Both need the server's help (git-fetch(1), --depth and --filter). One that gives no commit by its name is asked for all
its history; one that cannot filter sends every file.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import gitfaults, gitprogram, gittree, limits, places, submodules
from strata_builder.frozen import frozen, replace

_EVERYTHING: Final = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
_OPTIONS: Final = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force")
_WITHOUT_FILES: Final = "--filter=blob:none"
_ATTRIBUTES: Final = ".gitattributes"


@frozen
class Objects:
    """A repository at `folder`, made by `bring`; `budget` bounds what may arrive in it."""

    session: gitprogram.Session
    folder: Path
    budget: limits.Budget

    def bring(self, commit: str, *, partial: bool = False) -> gittree.CommitTree:
        """The tree of `commit` (or of the commit that a tag object of this name is of).

        `partial` leaves its files with the server: `bring_files` has to follow. Raises ReferenceNotFound, and what the
        server's answer amounts to.
        """
        places.make(self.folder)
        tree = gittree.CommitTree(self.session, self.folder, commit)
        algorithm = "sha256" if len(commit) == 64 else "sha1"
        tree.git("init", "--quiet", "--template=", f"--object-format={algorithm}", ".")
        try:
            self._fetch("--depth=1", *([_WITHOUT_FILES] if partial else []), refs=(commit,))
        except gitprogram.GitFailed as e:
            if not gitfaults.refuses_shallow(e.stderr):
                raise self.session.explain(e) from None
            self._fetch_or_explain(refs=_EVERYTHING)
        return replace(tree, commit=self._peel(commit))

    def bring_files(self, tree: gittree.CommitTree, path: str) -> None:
        """The files at and below `path`, and what else decides how they are written, in one request."""
        missing = tree.missing()
        needed = {entry.name for entry in tree.names() if entry.name in missing and _decides(entry.path, path)}
        if not needed:
            return
        try:
            self._fetch("--stdin", _WITHOUT_FILES, stdin="".join(f"{name}\n" for name in sorted(needed)).encode())
        except gitprogram.GitFailed:  # protocol 0 gives no file by its name
            self._fetch_or_explain("--depth=1", "--refetch", "--no-filter", refs=(tree.commit,))

    def _fetch_or_explain(self, *options: str, refs: tuple[str, ...]) -> None:
        try:
            self._fetch(*options, refs=refs)
        except gitprogram.GitFailed as e:
            raise self.session.explain(e) from None

    def _fetch(self, *options: str, refs: tuple[str, ...] = (), stdin: bytes = b"") -> None:
        self.session.run(
            *("-c", "fetch.negotiationAlgorithm=noop"),  # there is nothing here that the server could build upon
            *("fetch", *_OPTIONS, *options, "--", self.session.url.address, *refs),
            cwd=self.folder, stdin=stdin, watch=self._check_arrived,
        )  # fmt: skip

    def _check_arrived(self) -> None:
        self.budget.check(limits.size_of(self.folder / ".git"))

    def _peel(self, name: str) -> str:
        """The commit itself, where a tag object was asked for by its name."""
        try:
            found = self.session.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", cwd=self.folder)
        except gitprogram.GitFailed:
            raise errors.ReferenceNotFound(
                f"{self.session.url} has no commit {name}",
                hint="it may have been removed by a forced push; name a branch or tag, or a commit that is on one",
            ) from None
        return found.decode().strip()


def _decides(name: str, path: str) -> bool:
    """Whether the file is wanted, or says how wanted ones are written (gitattributes(5)), or where submodules are."""
    folder, base = posixpath.split(name)
    above = f"{path}/".startswith(f"{folder}/") or not folder
    return f"{name}/".startswith(f"{path}/") or (base == _ATTRIBUTES and above) or name == submodules.CONFIG
