"""Files that are held in memory: inline files of a spec, heredocs. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

from strata_builder import contents, errors
from strata_builder.context import tree
from strata_builder.entries import Entry, Kind, Readable


class MemoryTree:
    """`files` maps paths to contents; `modes` the paths (of directories too) whose mode is not 0644 or 0755.

    Raises InvalidSpec for a path that leaves the tree, or that is a file and a directory at once.
    """

    def __init__(
        self, files: Mapping[bytes, bytes], modes: Mapping[bytes, int] | None = None, *, mtime: int = 0
    ) -> None:
        self._files = dict(files)
        self._digests: dict[bytes, str] = {}
        self._names: dict[bytes, set[bytes]] = {b"": set()}
        self._modes = dict(modes or {})
        self._mtime = mtime
        for path in self._files:
            self._place(path)
        if both := sorted(self._files.keys() & self._names.keys()):
            raise errors.InvalidSpec(f"the context has both a file {tree.show(both[0])} and files below it")

    def _place(self, path: bytes) -> None:
        folder = b""
        for name in tree.parts(check_path(path)):
            self._names.setdefault(folder, set()).add(name)
            folder = tree.join(folder, name)

    def lookup(self, path: bytes) -> Entry | None:
        if path in self._names:
            return Entry(path, Kind.DIR, self._modes.get(path, 0o755), mtime=self._mtime)
        if path not in self._files:
            return None
        size = len(self._files[path])
        return Entry(path, Kind.FILE, self._modes.get(path, 0o644), mtime=self._mtime, size=size)

    def children(self, path: bytes) -> Sequence[bytes]:
        return sorted(self._names.get(path, ()))

    def entries(self, path: bytes) -> Iterable[tree.Found]:
        return tree.one_by_one(self, path)

    def open(self, path: bytes) -> Readable:
        return io.BytesIO(self._content(path))

    def digest(self, path: bytes) -> str:
        if path not in self._digests:
            self._digests[path] = contents.digest(self._content(path))
        return self._digests[path]

    def identity(self, path: bytes) -> object:  # noqa: ARG002
        return None

    def _content(self, path: bytes) -> bytes:
        if path not in self._files:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
        return self._files[path]


EMPTY = MemoryTree({})


def check_path(path: bytes) -> bytes:
    """`path` itself. Raises InvalidSpec unless it is a plain relative path (no `.`, `..`, empty component or NUL)."""
    if b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise errors.InvalidSpec(
            f"{tree.show(path)} is not a path inside the context",
            hint="write it relative to the context, without a leading slash and without `.` or `..`",
        )
    if len(path) > 4095 or any(len(part) > 255 for part in path.split(b"/")):
        raise errors.InvalidSpec(f"the path {tree.show(path)} is longer than a Linux file system takes")
    return path
