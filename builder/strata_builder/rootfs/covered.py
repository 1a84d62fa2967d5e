"""Files of a stack's layers that nobody can see, since higher layers have something else there or deleted them. Pure.

They need be neither written nor, where nothing else of the layer needs its bytes, fetched. All that is no file is written
nevertheless: overlays look at it. A file below a directory of the same name keeps a lower directory from being merged
with that one, so it is not left out either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from strata_builder.entries import Kind
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
        new = itertools.filterfalse(self._holders.__contains__, index.paths())
        self._holders.update(dict.fromkeys([*new], index))
        self._gone.update(index.whiteouts)
        self._emptied.update(index.opaque)

    def cover(self, index: Index) -> set[bytes]:
        found, hidden = set(self._gone), {*self._gone, *self._emptied}
        for path in self._replaced(index):
            (hidden if index.kind(path) is Kind.DIR else found).add(path)
        found.update(*map(index.below, hidden))
        return {path for path in found if index.kind(path) is Kind.FILE}

    def _replaced(self, index: Index) -> Iterator[bytes]:
        """Paths where the uppermost layer that has something there has no directory."""
        above = self._holders
        fewer, others = (above, index) if len(above) < len(index) else (index.paths(), above)
        return (path for path in filter(others.__contains__, fewer) if above[path].kind(path) is not Kind.DIR)


def _worth_it(index: Index, covered: set[bytes]) -> frozenset[bytes]:
    """Without files of several names; nothing if it is little."""
    if not covered:
        return frozenset()
    covered -= {entry.link for entry in index.of_kind(Kind.HARDLINK)}
    if len(covered) >= _MANY:
        return frozenset(covered)
    found = (entry.size for path in covered if (entry := index.lookup(path)) is not None)
    return frozenset(covered) if sum(found) >= _LARGE else frozenset()


def needs_bytes(index: Index, covered: frozenset[bytes]) -> bool:
    """Whether the layer without what is `covered` is more than its table of contents tells."""
    shown = itertools.filterfalse(covered.__contains__, index.paths())
    return any(_has_content(index, path) for path in shown)


def _has_content(index: Index, path: bytes) -> bool:
    """A hard link may stand before its file in the order of a table of contents, and so needs the layer's own."""
    kind = index.kind(path)
    if kind is Kind.FILE:
        held = index.lookup(path)
        return held is not None and held.size > 0
    return kind is Kind.HARDLINK
