"""Files of a stack's layers that nobody can see, since higher layers have something else there or deleted them. Pure.

They need be neither written nor, where nothing else of the layer needs its bytes, fetched. All that is no file is written
nevertheless: overlays look at it. A file below a directory of the same name keeps a lower directory from being merged
with that one, so it is not left out either.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Final

from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths
from strata_builder.layers.index import Index

#: What it takes for a layer to be unpacked apart for one stack, which others then cannot share: paths, or bytes in them.
_MANY: Final = 500
_LARGE: Final = 1 << 20


def of(stack: Sequence[Index | None]) -> list[frozenset[bytes]]:
    """For each layer (the lowest first) its files that do not show; few are none. One that is not known hides nothing."""
    above = _Above()
    found = []
    for index in reversed(stack):
        found.append(frozenset() if index is None else _worth_it(index, above.cover(index)))
        if index is not None:
            above.add(index)
    return found[::-1]


class _Above:
    """The layers above the one that is looked at: who holds each path, and what they hide with all below it."""

    def __init__(self) -> None:
        self._holders: dict[bytes, Index] = {}
        self._gone: set[bytes] = set()
        self._emptied: set[bytes] = set()

    def add(self, index: Index) -> None:
        for path in index.paths():
            self._holders.setdefault(path, index)
        self._gone.update(index.whiteouts)
        self._emptied.update(index.opaque)

    def cover(self, index: Index) -> set[bytes]:
        found, hidden = set(self._gone), {*self._gone, *self._emptied}
        for entry in self._replaced(index):
            (hidden if entry.kind is Kind.DIR else found).add(entry.path)
        if hidden:
            held = [*index.paths()]
            order = [*map(paths.order, held)]
            found.update(*(_below(path, held, order) for path in hidden))
        return {path for path in found if (held_as := index.lookup(path)) is not None and held_as.kind is Kind.FILE}

    def _replaced(self, index: Index) -> Iterator[Entry]:
        """Entries at whose path the uppermost layer that has it has something other than a directory."""
        above = self._holders
        for path in above if len(above) < len(index) else index.paths():
            entry = index.lookup(path) if path in above else None
            upper = above[path].lookup(path) if entry is not None else None
            if entry is not None and upper is not None and upper.kind is not Kind.DIR:
                yield entry


def _below(folder: bytes, held: Sequence[bytes], order: Sequence[bytes]) -> Sequence[bytes]:
    """Those of the paths `held`, in the `order` of a walk, that lie below `folder`."""
    if not folder:
        return held[1:] if held[:1] == [b""] else held
    start = paths.order(folder)
    return held[bisect.bisect_left(order, start + b"\0") : bisect.bisect_left(order, start + b"\1")]


def _worth_it(index: Index, covered: set[bytes]) -> frozenset[bytes]:
    """Without files of several names; nothing if it is little."""
    if not covered:
        return frozenset()
    entries = [*index]
    kept = {entry.link for entry in entries if entry.kind is Kind.HARDLINK}
    covered -= kept
    size = sum(entry.size for entry in entries if entry.path in covered)
    return frozenset(covered) if len(covered) >= _MANY or size >= _LARGE else frozenset()


def needs_bytes(index: Index, covered: frozenset[bytes]) -> bool:
    """Whether the layer without what is `covered` is more than its table of contents tells."""
    return any(_has_content(entry) and entry.path not in covered for entry in index)


def _has_content(entry: Entry) -> bool:
    """A hard link may stand before its file in the order of a table of contents, and so needs the layer's own."""
    return entry.kind is Kind.HARDLINK or (entry.kind is Kind.FILE and entry.size > 0)
