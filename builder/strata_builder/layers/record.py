"""An entry as bytes, all but its path: what a layer's index is made of, and how entries are held by the million. Pure."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

from strata_builder.entries import Entry, Kind

#: Kind, mode, uid, gid, mtime, size; a file's digest follows, a link's text, a device's numbers, and attributes.
FIXED: Final = struct.Struct("<BHIIqQ")
PLAIN_FILE: Final = FIXED.size + 32
_DEVICE: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
#: Kinds that have a digest.
CONTENT: Final = (Kind.FILE, Kind.HARDLINK)
#: Kinds of which every record has a rest.
SPECIAL: Final = (Kind.SYMLINK, Kind.HARDLINK, Kind.CHAR, Kind.BLOCK)
_LINKS: Final = (Kind.SYMLINK, Kind.HARDLINK)
_DEVICES: Final = (Kind.CHAR, Kind.BLOCK)
_KINDS: Final = tuple(Kind)
NO_DIGEST: Final = bytes(32)


class Impossible(ValueError):
    """Bytes that this program has not written. Says why."""


class CutShort(Impossible):
    """They end before what they announce."""

    def __init__(self) -> None:
        super().__init__("it is cut short")


def pack(entry: Entry) -> bytes:
    _, kind, mode, uid, gid, mtime, size, _, _, _, xattrs, digest = entry
    fixed = FIXED.pack(kind, mode, uid, gid, mtime, size)
    if kind in CONTENT:
        fixed += bytes.fromhex(digest) if digest else NO_DIGEST
    return fixed if not xattrs and kind not in SPECIAL else fixed + rest(entry)


def rest(entry: Entry) -> bytes:
    """What follows the fields that all have and the digest: nothing of nearly all files and directories."""
    first = b""
    if entry.kind in _LINKS:
        first = sized(entry.link)
    elif entry.kind in _DEVICES:
        first = _DEVICE.pack(entry.major, entry.minor)
    return first + b"".join(sized(name) + sized(value) for name, value in entry.xattrs)


def unpack(path: bytes, record: bytes) -> Entry:
    """Raises CutShort, of what `pack` has not made."""
    kind, mode, uid, gid, mtime, size = FIXED.unpack_from(record)
    if kind == Kind.FILE and len(record) == PLAIN_FILE:
        found = record[FIXED.size :]
        digest = "" if found == NO_DIGEST else found.hex()
        return Entry(path, Kind.FILE, mode, uid, gid, mtime, size, b"", 0, 0, (), digest)
    if kind == Kind.DIR and len(record) == FIXED.size:
        return Entry(path, Kind.DIR, mode, uid, gid, mtime)
    entry = Entry(path, _KINDS[kind], mode, uid, gid, mtime, size)
    read = Reader(record, FIXED.size)
    found = read.take(32) if kind in CONTENT else NO_DIGEST
    return with_rest(entry._replace(digest="" if found == NO_DIGEST else found.hex()), read)


def with_rest(entry: Entry, read: Reader) -> Entry:
    """With what `rest` has made of it. Raises CutShort."""
    link = read.sized() if entry.kind in _LINKS else b""
    major, minor = _DEVICE.unpack(read.take(_DEVICE.size)) if entry.kind in _DEVICES else (0, 0)
    xattrs = []
    while read.left():
        xattrs.append((read.sized(), read.sized()))
    return entry._replace(link=link, major=major, minor=minor, xattrs=tuple(xattrs))


def sized(data: bytes) -> bytes:
    """`data` after its length."""
    return _LENGTH.pack(len(data)) + data


def count(number: int) -> bytes:
    return _LENGTH.pack(number)


def counts(numbers: Collection[int]) -> bytes:
    """`numbers` of 32 bits after how many they are."""
    return struct.pack(f"<I{len(numbers)}I", len(numbers), *numbers)


class Reader:
    """Takes bytes apart. Raises CutShort."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise CutShort
        self._at += size
        return piece

    def sized(self) -> bytes:
        """What `sized` has made."""
        start = self._at + _LENGTH.size
        if start > len(self._data):
            raise CutShort
        self._at = start + _LENGTH.unpack_from(self._data, self._at)[0]
        if self._at > len(self._data):
            raise CutShort
        return self._data[start : self._at]

    def count(self) -> int:
        return _LENGTH.unpack(self.take(_LENGTH.size))[0]  # type: ignore[no-any-return]

    def counts(self) -> tuple[int, ...]:
        """What `counts` has made."""
        number = self.count()
        return struct.unpack(f"<{number}I", self.take(number * _LENGTH.size))

    def left(self) -> int:
        return len(self._data) - self._at
