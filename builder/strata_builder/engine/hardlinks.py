"""Which paths of a layer in the making are names of one file. Pure."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

from strata_builder.entries import Entry, Item, Kind


class HardLinks:
    """A path that something else takes the place of leaves its file to the other names."""

    def __init__(self) -> None:
        self._files: dict[bytes, int] = {}
        self._numbers = itertools.count()

    def link(self, path: bytes, to: bytes) -> None:
        """`path` is now another name of the file that is at `to`."""
        number = self._files.get(to)
        self._files[path] = self._files[to] = next(self._numbers) if number is None else number

    def replaced(self, path: bytes) -> None:
        self._files.pop(path, None)

    def further(self, order: Callable[[bytes], object]) -> Iterator[tuple[bytes, bytes]]:
        """(a further name, the name that comes first in `order`), of each file with several names."""
        names: defaultdict[int, list[bytes]] = defaultdict(list)
        for path, number in self._files.items():
            names[number].append(path)
        for group in names.values():
            first, *rest = sorted(group, key=order)  # type: ignore[arg-type]
            yield from ((path, first) for path in rest)


def further(item: Item, first: bytes) -> Item:
    """The file `item` as a further name of the file that is at `first`. Its content stays at hand."""
    return item._replace(entry=item.entry._replace(kind=Kind.HARDLINK, link=first))


def whole(entry: Entry) -> Entry:
    """A further name as the file that it is."""
    return entry._replace(kind=Kind.FILE, link=b"")
