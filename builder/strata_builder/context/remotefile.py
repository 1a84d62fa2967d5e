"""One file from elsewhere as a context. Its content is brought when something first asks for it: a hit never does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import tree
from strata_builder.context.validators import Stored
from strata_builder.entries import Entry, Kind, Readable

MODE: Final = 0o600  # Dockerfile reference, ADD: "the destination will have permissions of 600"


class RemoteFile:
    """A tree that holds the file `stored`; `bring` gives where its content lies."""

    is_remote = True  # an archive from elsewhere is not unpacked unless that is asked for

    def __init__(self, stored: Stored, bring: Callable[[], Path]) -> None:
        self._stored = stored
        self._bring = bring
        self.path = stored.name.encode()
        self.entry = Entry(self.path, Kind.FILE, MODE, mtime=stored.mtime, size=stored.size)

    def lookup(self, path: bytes) -> Entry | None:
        return {b"": Entry(b"", Kind.DIR, 0o755), self.path: self.entry}.get(path)

    def children(self, path: bytes) -> Sequence[bytes]:
        return () if path else (self.path,)

    def entries(self, path: bytes) -> Iterable[tree.Found]:
        return tree.one_by_one(self, path)

    def open(self, path: bytes) -> Readable:
        """Raises LayerError, and what bringing the content raises."""
        self._check(path)
        return self._bring().open("rb", buffering=0)

    def digest(self, path: bytes) -> str:
        self._check(path)
        return self._stored.content

    def identity(self, path: bytes) -> object:  # noqa: ARG002
        return None

    def _check(self, path: bytes) -> None:
        if path != self.path:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
