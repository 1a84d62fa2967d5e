"""What a layer's index knows of its entries but their paths, by their numbers: a row of bytes an entry. Pure.

They are kept turned: the first bytes of all rows, then the second ones. So they pack better, and what no layer has is found by
looking at a few of these, not at every entry.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from strata_builder.entries import Entry, Kind
from strata_builder.layers import record

_KINDS: Final = tuple(Kind)
_WIDTH: Final = record.FIXED.size
_DIGEST: Final = len(record.NO_DIGEST)
_FIRST: Final = struct.Struct(f"{_WIDTH}s{_DIGEST}s")
_CONTENT: Final = frozenset(map(int, record.CONTENT))
#: Where in a row the high byte of the mode is, the owners, and the size.
_HIGH_MODE: Final = 2
_OWNERS: Final = (3, 7)
_SIZE: Final = 19
_NO_SIZE: Final = bytes(8)


class Rows:
    """`fixed` are the rows of `record.FIXED`, `digests` those of files' contents, zeros for others; `more` is of the entries
    that have one what `record.rest` makes of them."""

    __slots__ = ("_digests", "_fixed", "_more")

    def __init__(self, fixed: bytes, digests: bytes, more: dict[int, bytes]) -> None:
        self._fixed, self._digests, self._more = fixed, digests, more

    @classmethod
    def of_records(cls, records: Iterable[bytes]) -> Rows:
        """Of entries as `record.pack` makes them."""
        fixed, digests = io.BytesIO(), io.BytesIO()  # which hand their bytes out without a copy
        more: dict[int, bytes] = {}
        for number, found in enumerate(records):
            if found[0] in _CONTENT:
                first, digest = _FIRST.unpack_from(found)
                end = record.PLAIN_FILE
            else:
                first, digest, end = found[:_WIDTH], record.NO_DIGEST, _WIDTH
            fixed.write(first)
            digests.write(digest)
            if len(found) > end:
                more[number] = found[end:]
        return cls(fixed.getvalue(), digests.getvalue(), more)

    def entry(self, number: int, path: bytes) -> Entry:
        kind, mode, uid, gid, mtime, size = record.FIXED.unpack_from(self._fixed, number * _WIDTH)
        found = self._digests[number * _DIGEST : (number + 1) * _DIGEST]
        digest = "" if found == record.NO_DIGEST else found.hex()
        entry = Entry(path, _KINDS[kind], mode, uid, gid, mtime, size, b"", 0, 0, (), digest)
        return record.with_rest(entry, record.Reader(self._more[number])) if number in self._more else entry

    def kind(self, number: int) -> Kind:
        return _KINDS[self._fixed[number * _WIDTH]]

    def of_kind(self, *kinds: Kind) -> Iterator[int]:
        """The numbers of the entries of these kinds."""
        return itertools.compress(itertools.count(), self._plane(0).translate(_table(kinds)))

    def _plane(self, place: int) -> bytes:
        """This byte of all rows."""
        return self._fixed[place::_WIDTH]

    # as they are kept

    def pieces(self) -> Iterator[bytes]:
        """What `read` reads."""
        yield from map(self._plane, range(_WIDTH))
        yield self._digests
        yield record.counts(self._more)
        yield from map(record.sized, self._more.values())

    @classmethod
    def read(cls, data: record.Reader, count: int) -> Rows:
        """Those of `count` entries. Raises Impossible for what `pieces` cannot have made."""
        fixed, planes = bytearray(count * _WIDTH), data.take(count * _WIDTH)
        for place in range(_WIDTH):
            fixed[place::_WIDTH] = planes[place * count : (place + 1) * count]
        digests, numbers = data.take(count * _DIGEST), data.counts()
        if any(map(int.__ge__, numbers, numbers[1:])) or (numbers and numbers[-1] >= count):
            raise record.Impossible("what it tells of single entries is out of order")
        made = cls(bytes(fixed), digests, {number: data.sized() for number in numbers})
        made._check()
        return made

    def _check(self) -> None:
        if self._plane(0).translate(None, bytes(_KINDS)) or self._plane(_HIGH_MODE).translate(None, bytes(range(16))):
            raise record.Impossible("an entry has an impossible kind or mode")
        if any(map(self._has_ones, _OWNERS)):
            raise record.Impossible("an entry has an impossible owner")
        if any(self._fixed[n * _WIDTH + _SIZE : (n + 1) * _WIDTH] != _NO_SIZE for n in self.of_kind(Kind.DIR)):
            raise record.Impossible("a directory has a size")
        empty = [kind for kind in Kind if kind not in record.CONTENT]
        if any(self._digests[n * _DIGEST : (n + 1) * _DIGEST] != record.NO_DIGEST for n in self.of_kind(*empty)):
            raise record.Impossible("an entry without content has a digest")
        if not all(number in self._more for number in self.of_kind(*record.SPECIAL)):
            raise record.Impossible("a link or device is cut short")
        if not all(more and record.rest(self.entry(number, b"")) == more for number, more in self._more.items()):
            raise record.Impossible("an entry is not as this program writes it")

    def _has_ones(self, place: int) -> bool:
        """Whether four bytes of any row have all bits set, as the owner that is none."""
        planes = [self._plane(place + after) for after in range(4)]
        return all(b"\xff" in plane for plane in planes) and (0xFF,) * 4 in zip(*planes, strict=True)


def _table(kinds: Collection[Kind]) -> bytes:
    """For `translate`: 1 for these kinds, 0 for others."""
    return bytes(number in kinds for number in range(256))
