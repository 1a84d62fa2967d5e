"""Layers' tables of contents, stacked: what the image shows at a path, without a byte of its files. Pure."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from strata_builder.entries import Entry, Kind
from strata_builder.layers import following, paths
from strata_builder.layers.index import Index


class View:
    """Immutable; the lowest layer first. Paths are bytes relative to the image's root, which is b"", always there."""

    __slots__ = ("_floors", "_layers", "_stack")

    def __init__(self, stack: Sequence[Index] = ()) -> None:
        self._stack = tuple(stack)
        self._layers = tuple(_layer(index) for index in self._stack)
        self._floors: dict[bytes, int] = {}

    def push(self, index: Index) -> View:
        """The view with one more layer on top."""
        return View((*self._stack, index))

    def lookup(self, path: bytes) -> Entry | None:
        """What is at `path`, as lstat tells; a hard link shows the file that it is."""
        implied = not path
        for number in self._speaking(path):
            layer = self._layers[number]
            found = layer.index.shown(path)
            if found is not None:
                return Entry(path, Kind.DIR, 0o755) if implied and found.kind is not Kind.DIR else found
            implied = implied or layer.index.implies(path)
        # A directory that layers use without holding it: what unpackers make.
        return Entry(path, Kind.DIR, 0o755) if implied else None

    def children(self, path: bytes) -> list[bytes]:
        """The sorted names in a directory; empty for everything else."""
        names: set[bytes] = set()
        gone: set[bytes] = set()
        for number in range(len(self._layers) - 1, self._floor(path) - 1, -1):
            layer = self._layers[number]
            names.update(name for name in layer.index.children(path) if name not in gone)
            gone |= layer.whiteouts.get(path, _NONE)
        return sorted(names)

    def text(self, path: bytes) -> bytes | None:
        """The content of a file of which indexes keep it (/etc/passwd, /etc/group); None if it is not there."""
        real = following.follow(self.lookup, path)
        number = self.layer_of(real)
        return None if number is None else self._stack[number].texts.get(real)

    def layer_of(self, path: bytes) -> int | None:
        """The number (0 = lowest) of the layer that holds what `lookup` shows; None if none does."""
        return next((number for number in self._speaking(path) if path in self._stack[number]), None)

    def index(self, number: int) -> Index:
        return self._stack[number]

    def _speaking(self, path: bytes) -> Iterator[int]:
        """The numbers of the layers, from the top, whose word on `path` no higher one hides."""
        parent, name = paths.split(path)
        for number in range(len(self._layers) - 1, self._floor(parent) - 1 if path else -1, -1):
            yield number
            if path and name in self._layers[number].whiteouts.get(parent, _NONE):
                return

    def _floor(self, folder: bytes) -> int:
        """The lowest layer whose content of `folder` is not hidden by a higher one; asked for each path in it."""
        known = self._floors.get(folder)
        if known is None:
            known = 0
            for above in (b"", *paths.parents(folder), folder):
                if above not in self._floors:
                    self._floors[above] = self._floor_over(above, known)
                known = self._floors[above]
        return known

    def _floor_over(self, folder: bytes, lowest: int) -> int:
        """The floor of `folder`, where that of its parent is `lowest`."""
        parent, name = paths.split(folder)
        for number in range(len(self._layers) - 1, lowest, -1):
            layer = self._layers[number]
            if folder in layer.opaque or (folder and name in layer.whiteouts.get(parent, _NONE)):
                return number
            held = layer.index.lookup(folder)
            if held is not None and held.kind is not Kind.DIR:
                return number
        return lowest


_NONE: Final[frozenset[bytes]] = frozenset()


class _Layer:
    """One layer's index, and what has to be asked of it often."""

    __slots__ = ("index", "opaque", "whiteouts")

    def __init__(self, index: Index) -> None:
        self.index = index
        self.opaque = frozenset(index.opaque)
        hidden: dict[bytes, set[bytes]] = defaultdict(set)
        for path in index.whiteouts:
            parent, name = paths.split(path)
            hidden[parent].add(name)
        self.whiteouts = {parent: frozenset(names) for parent, names in hidden.items()}


@functools.lru_cache(maxsize=512)
def _layer(index: Index) -> _Layer:
    """Views of one image share most of their layers."""
    return _Layer(index)
