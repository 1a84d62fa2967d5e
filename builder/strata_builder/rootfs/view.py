"""Layers' tables of contents, stacked: what the image shows at a path, without a byte of its files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers.index import Index

MAX_LINKS = 255


class View:
    """Immutable; the lowest layer first. Paths are bytes relative to the image's root, which is b"" always there."""

    __slots__ = ("_hidden", "_stack")

    def __init__(self, stack: Sequence[Index] = ()) -> None:
        self._stack = tuple(stack)
        self._hidden = [(frozenset(index.whiteouts), frozenset(index.opaque)) for index in self._stack]

    def push(self, index: Index) -> View:
        """The view with one more layer on top."""
        return View((*self._stack, index))

    def lookup(self, path: bytes) -> Entry | None:
        """What is at `path`, as lstat tells; a hard link shows the file that it is."""
        for index, _ in self._showing(path):
            if found := index.shown(path):
                return found
            if index.has_below(path):
                return self._implied(path)
        return Entry(b"", Kind.DIR, 0o755) if not path else None

    def children(self, path: bytes) -> list[bytes]:
        """The sorted names in a directory; empty for everything else."""
        names: set[bytes] = set()
        gone: set[bytes] = set()
        prefix = path + b"/" if path else b""
        for index, whiteouts in self._showing(path):
            names.update(name for name in index.children(path) if name not in gone)
            gone.update(w[len(prefix) :] for w in whiteouts if w.startswith(prefix) and b"/" not in w[len(prefix) :])
        return sorted(names)

    def resolve(self, path: bytes, *, follow_last: bool = True) -> bytes:
        """`path` with its symlinks followed inside the root; what is missing stands as it is. LayerError for a loop."""
        done: list[bytes] = []
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            entry = self.lookup(b"/".join([*done, part]))
            if entry is None or entry.kind != Kind.SYMLINK or not (follow_last or any(todo)):
                done.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                raise errors.LayerError(f"too many symbolic links in /{path.decode('utf-8', 'replace')}")
            if entry.link.startswith(b"/"):
                done.clear()
            todo.extend(entry.link.split(b"/")[::-1])
        return b"/".join(done)

    def text(self, path: bytes) -> bytes | None:
        """The content of a file of which indexes keep it (/etc/passwd, /etc/group); None if it is not there."""
        real = self.resolve(path)
        for index, _ in self._showing(real):
            if real in index.texts:
                return index.texts[real]
            if real in index:
                return None
        return None

    def layer_of(self, path: bytes) -> int | None:
        """The number (0 = lowest) of the layer that holds what `lookup` shows."""
        for number in range(len(self._stack) - 1, -1, -1):
            if path in self._stack[number]:
                return number
            if self._hides(number, path):
                return None
        return None

    def index(self, number: int) -> Index:
        return self._stack[number]

    def _showing(self, path: bytes) -> Iterator[tuple[Index, frozenset[bytes]]]:
        """The layers, from the top, whose word on `path` is not hidden by a higher one."""
        for number in range(len(self._stack) - 1, -1, -1):
            yield self._stack[number], self._hidden[number][0]
            if self._hides(number, path):
                return

    def _hides(self, number: int, path: bytes) -> bool:
        """Whether layer `number` hides what lower ones hold at `path`."""
        index = self._stack[number]
        whiteouts, opaque = self._hidden[number]
        if path in whiteouts or path in opaque:
            return True
        held = index.lookup(path)
        if held is not None and held.kind != Kind.DIR:
            return True
        while path:
            path = path.rpartition(b"/")[0]
            if path in whiteouts or path in opaque:
                return True
            above = index.lookup(path)
            if above is not None and above.kind != Kind.DIR:
                return True
        return False

    def _implied(self, path: bytes) -> Entry:
        """A directory that a layer uses without holding it: what lower layers say of it, else what unpackers make."""
        for index, _ in self._showing(path):
            if found := index.shown(path):
                return found
        return Entry(path, Kind.DIR, 0o755)
