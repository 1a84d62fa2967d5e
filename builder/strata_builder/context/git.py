"""One commit of a git repository as a folder: only that commit's files, with git's two modes and without `.git`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import gitfaults, gitprogram, gitref, gitremote, limits
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.contract import GitSource, SourceResult

DEFAULT_LIMIT: Final = 2 << 30
_EVERYTHING: Final = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True, slots=True)
class Checkout:
    """`folder` is the source's sub-folder; its files are 0644 or 0755. `source` is what was fetched, for the result."""

    folder: Path
    source: SourceResult


def fetch(
    source: GitSource,
    dest: Path,
    credentials: Credentials | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    keep_git_dir: bool = False,
    timeout: float = 3600,
    settings: gitprogram.Settings = gitprogram.DEFAULTS,
    local: bool = False,
) -> Checkout:
    """The commit `source.commit`, else where `source.revision` stands now, below `dest`, which is empty or absent.

    `limit` is the most bytes that may arrive, and that the files may have; `timeout` is in seconds; `local` allows
    file:// URLs. Raises InvalidSpec, SourceNotFound, SourceAuthFailed, ReferenceNotFound, SourceUnavailable,
    StorageLimitExceeded; what has arrived by then is the caller's to remove.
    """
    url = gitref.parse_url(source.url, local=local)
    source = replace(source, path=gitref.check_folder(source.path))
    gitref.check_revision(source.revision)
    if source.submodules:
        raise errors.NotSupported("submodules of a git source are not supported yet", hint="set submodules: false")
    if source.commit and not gitref.is_commit(source.commit):
        raise errors.InvalidSpec(f"{gitref.shown(source.commit)!r} is not a whole commit")
    with gitprogram.session(url, credentials or ANONYMOUS, settings, timeout=timeout) as session:
        return _Fetch(session, source, dest, limits.Budget(limit)).run(keep_git_dir)


@dataclass(frozen=True, slots=True)
class _Fetch:
    session: gitprogram.Session
    source: GitSource
    dest: Path
    budget: limits.Budget

    def run(self, keep_git_dir: bool) -> Checkout:
        commit = self._wanted()
        algorithm = "sha256" if len(commit) == 64 else "sha1"
        self.dest.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--template=", f"--object-format={algorithm}", ".")
        commit = self._bring(commit)
        self._check_folder(commit)
        self._check_size(commit)
        self._write_files(commit)
        result = self._describe(commit)
        self._finish(keep_git_dir, commit)
        return Checkout(self.dest / self.source.path, result)

    def _wanted(self) -> str:
        if self.source.commit or gitref.is_commit(self.source.revision):
            return self.source.commit or self.source.revision
        return gitremote.ask(self.session, self.source.revision).commit

    # bringing

    def _bring(self, commit: str) -> str:
        """Fetches `commit` alone; with all history from a server that gives no commit by its name."""
        try:
            self._fetch("--depth=1", commit)
        except gitprogram.GitFailed as e:
            if not gitfaults.refuses_shallow(e.stderr):
                raise self.session.explain(e) from None
            self._fetch_everything()
        return self._peel(commit)

    def _fetch_everything(self) -> None:
        try:
            self._fetch(*_EVERYTHING)
        except gitprogram.GitFailed as e:
            raise self.session.explain(e) from None

    def _fetch(self, *what: str) -> None:
        options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force")
        depth = [item for item in what if item.startswith("--")]
        refs = [item for item in what if not item.startswith("--")]
        self.session.run(
            "fetch", *options, *depth, "--", self.session.url.address, *refs, cwd=self.dest, watch=self._check_arrived
        )

    def _check_arrived(self) -> None:
        self.budget.check(limits.size_of(self.dest / ".git"))

    def _peel(self, name: str) -> str:
        """The commit itself, where a tag object was asked for by its name."""
        try:
            return (
                self.session.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", cwd=self.dest)
                .decode()
                .strip()
            )
        except gitprogram.GitFailed:
            raise errors.ReferenceNotFound(
                f"{self.session.url} has no commit {name}",
                hint="it may have been removed by a forced push; name a branch or tag, or a commit that is on one",
            ) from None

    # checking before anything is written

    def _check_folder(self, commit: str) -> None:
        if not self.source.path:
            return
        try:
            kind = self._git("cat-file", "-t", f"{commit}:{self.source.path}").strip()
        except (errors.BuildError, gitprogram.GitFailed):
            kind = b""
        if kind != b"tree":
            what = "is not a folder" if kind else "does not exist"
            raise errors.SourceNotFound(
                f"the path {self.source.path!r} {what} in {self.session.url} at {commit[:12]}",
                hint="a path through a symlink is not followed; write the folder's own path",
            )

    def _check_size(self, commit: str) -> None:
        listing = self._git("ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", *self._pathspec())
        for size in _sizes(listing):
            self.budget.entry()
            self.budget.take(size)

    def _pathspec(self) -> list[str]:
        return [self.source.path] if self.source.path else []

    # writing

    def _write_files(self, commit: str) -> None:
        """The whole index is read, so that attributes above the sub-folder count; only its own files are written."""
        self._git("read-tree", "--reset", commit)
        pathspec = [f":(top,literal){path}" for path in self._pathspec()]
        names = self._git("ls-files", "-z", "--", *pathspec)
        self._git("checkout-index", "--quiet", "--force", "-u", "-z", "--stdin", stdin=names)
        (self.dest / self.source.path).mkdir(parents=True, exist_ok=True)

    def _describe(self, commit: str) -> SourceResult:
        form = "--format=%s%x00%an%x00%ct"
        output = self._git("log", "-1", "--no-show-signature", "--encoding=UTF-8", form, commit)
        message, author, time = output.decode("utf-8", "replace").rstrip("\n").split("\0")
        return SourceResult(self.source.revision, commit, _line(message), _line(author), int(time or 0))

    def _finish(self, keep_git_dir: bool, commit: str) -> None:
        if keep_git_dir:
            self._git("update-ref", "--no-deref", "HEAD", commit)
            self._git("config", "remote.origin.url", self.session.url.address)
        else:
            shutil.rmtree(self.dest / ".git")

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        try:
            return self.session.run(*arguments, cwd=self.dest, stdin=stdin)
        except gitprogram.GitFailed as e:
            raise _local_failure(e, self.session) from None


def _local_failure(failure: gitprogram.GitFailed, session: gitprogram.Session) -> errors.BuildError:
    """After the fetch nothing depends on the remote any more: what fails now is the disk, or a broken repository."""
    said = gitfaults.last_lines(session.credentials.redact(failure.stderr))
    if "No space left" in failure.stderr:
        return errors.StorageLimitExceeded(f"there is no space to check out {session.url}: {said}")
    return errors.SourceNotFound(f"cannot check out {session.url}: {said}")


def _sizes(listing: bytes) -> Iterator[int]:
    """Of the records `mode type object size<TAB>path`; a submodule has no size."""
    for record in listing.split(b"\0"):
        size = record.partition(b"\t")[0].rpartition(b" ")[2]
        if record:
            yield int(size) if size.isdigit() else 0


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:256].strip()
