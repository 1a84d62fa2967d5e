"""What is to become a layer, held by the million: of each path one record, from which its `Item` is made when asked for."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.layers import paths, record

#: The number of the origin, before the entry's record. The first is none.
_NUMBER: Final = struct.Struct("<I")
_NONE: Final = 0
_KIND: Final = _NUMBER.size
_MTIME: Final = struct.Struct("<q")
_MTIME_AT: Final = _NUMBER.size + struct.calcsize("<BHII")
_NO_TIME: Final = _MTIME.pack(-(1 << 62))
_KINDS: Final = tuple(Kind)


class Origin(NamedTuple):
    """Where the contents of what stands at and below `target` come from: `open` of the same names below `source`."""

    open: Callable[[bytes], Readable]
    source: bytes
    target: bytes

    def content(self, path: bytes) -> Callable[[], Readable]:
        if path == self.target:
            return functools.partial(self.open, self.source)
        below = path[len(self.target) + 1 :] if self.target else path
        return functools.partial(self.open, paths.join(self.source, below))


class Items:
    """Items by their path. Of those that come from an `Origin` only its number is kept, of others what opens them."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._records: dict[bytes, bytes] = {}
        self._openers: dict[bytes, Callable[[], Readable]] = {}
        self._origins: list[Origin | None] = [None]
        for item in items:
            self.put(item)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, path: bytes) -> bool:
        return path in self._records

    def __iter__(self) -> Iterator[Item]:
        """Sorted by the bytes of their paths."""
        return (self._item(path, self._records[path]) for path in sorted(self._records))

    def entries(self) -> Iterator[Entry]:
        """As from iterating, without what opens their content."""
        return (record.unpack(path, self._records[path][_NUMBER.size :]) for path in sorted(self._records))

    def rows(self, undated: int | None = None) -> Iterator[bytes]:
        """Every path with all that is known of it, sorted by paths: equal for equal layers. If `undated` is given, times
        other than this one are left out."""
        for path in sorted(self._records):
            found = self._records[path]
            if undated is not None and _MTIME.unpack_from(found, _MTIME_AT)[0] != undated:
                found = found[:_MTIME_AT] + _NO_TIME + found[_MTIME_AT + _MTIME.size :]
            yield b"%b%b" % (record.sized(path), record.sized(found[_NUMBER.size :]))

    def origin(self, origin: Origin) -> int:
        """A number for `put_from`."""
        if self._origins[-1] != origin:
            self._origins.append(origin)
        return len(self._origins) - 1

    def put(self, item: Item) -> None:
        """In the place of what has the same path."""
        self.put_from(item.entry, _NONE)
        if item.open is not None:
            self._openers[item.entry.path] = item.open

    def put_from(self, entry: Entry, origin: int) -> None:
        """An entry whose content, if it has any, comes from the origin of that number."""
        self._records[entry.path] = _NUMBER.pack(origin) + record.pack(entry)
        if self._openers:
            self._openers.pop(entry.path, None)

    def get(self, path: bytes) -> Item | None:
        found = self._records.get(path)
        return None if found is None else self._item(path, found)

    def kind(self, path: bytes) -> Kind | None:
        """What is at `path`, without the rest."""
        found = self._records.get(path)
        return None if found is None else _KINDS[found[_KIND]]

    def pop(self, path: bytes) -> Item | None:
        found = self._records.pop(path, None)
        item = None if found is None else self._item(path, found)
        self._openers.pop(path, None)
        return item

    def paths(self) -> Iterable[bytes]:
        return self._records.keys()

    def of_kind(self, kind: Kind) -> list[bytes]:
        """Their paths."""
        return [path for path, found in self._records.items() if found[_KIND] == kind]

    def link(self, path: bytes, to: bytes) -> None:
        """Makes the file at `path` a further name of the one at `to`. Its content stays at hand."""
        found = self._records[path]
        entry = record.unpack(path, found[_NUMBER.size :])
        self._records[path] = found[: _NUMBER.size] + record.pack(entry._replace(kind=Kind.HARDLINK, link=to))

    def move(self, path: bytes, to: bytes) -> None:
        """What is at `path` is at `to` from now on, with its content."""
        item = self.pop(path)
        if item is not None:
            self.put(Item(item.entry._replace(path=to), item.open))

    def retime(self, change: Callable[[int], int]) -> None:
        """Gives every entry the time that `change` makes of its own."""
        for path, found in self._records.items():
            before = _MTIME.unpack_from(found, _MTIME_AT)[0]
            after = change(before)
            if after != before:
                self._records[path] = b"%b%b%b" % (
                    found[:_MTIME_AT],
                    _MTIME.pack(after),
                    found[_MTIME_AT + _MTIME.size :],
                )

    def drain(self) -> Iterator[Item]:
        """All, in the order of a walk. Each is forgotten when the next one is asked for."""
        found = paths.in_order(self._records)
        records = [self._records[path] for path in found]
        self._records = {}
        for at, path in enumerate(found):
            yield self._item(path, records[at])
            found[at] = records[at] = b""
        self._openers.clear()

    def _item(self, path: bytes, found: bytes) -> Item:
        entry = record.unpack(path, found[_NUMBER.size :])
        origin = self._origins[_NUMBER.unpack_from(found)[0]]
        if origin is None:
            return Item(entry, self._openers.get(path) if self._openers else None)
        return Item(entry, origin.content(path) if entry.kind is Kind.FILE or entry.kind is Kind.HARDLINK else None)
