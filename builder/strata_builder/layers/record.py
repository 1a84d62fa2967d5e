"""An entry as bytes, all but its path: what a layer's index is made of, and how entries are held by the million. Pure."""

from __future__ import annotations

import struct
from typing import Final

from strata_builder.entries import Entry, Kind

#: Kind, mode, uid, gid, mtime, size; a file's digest follows, a link's text, a device's numbers, and attributes.
FIXED: Final = struct.Struct("<BHIIqQ")
PLAIN_FILE: Final = FIXED.size + 32
_DEVICE: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
_CONTENT: Final = (Kind.FILE, Kind.HARDLINK)
_LINKS: Final = (Kind.SYMLINK, Kind.HARDLINK)
_DEVICES: Final = (Kind.CHAR, Kind.BLOCK)
_KINDS: Final = tuple(Kind)
_NO_DIGEST: Final = bytes(32)


class CutShort(ValueError):
    """Bytes end before what they announce."""


def pack(entry: Entry) -> bytes:
    _, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs, digest = entry
    fixed = FIXED.pack(kind, mode, uid, gid, mtime, size)
    if kind in _CONTENT:
        fixed += bytes.fromhex(digest) if digest else _NO_DIGEST
    if kind in _LINKS:
        fixed += sized(link)
    elif kind in _DEVICES:
        fixed += _DEVICE.pack(major, minor)
    return fixed + b"".join(sized(name) + sized(value) for name, value in xattrs) if xattrs else fixed


def unpack(path: bytes, record: bytes) -> Entry:
    """Raises CutShort, of what `pack` has not made."""
    kind, mode, uid, gid, mtime, size = FIXED.unpack_from(record)
    if kind == Kind.FILE and len(record) == PLAIN_FILE:
        found = record[FIXED.size :]
        digest = "" if found == _NO_DIGEST else found.hex()
        return Entry(path, Kind.FILE, mode, uid, gid, mtime, size, b"", 0, 0, (), digest)
    if kind == Kind.DIR and len(record) == FIXED.size:
        return Entry(path, Kind.DIR, mode, uid, gid, mtime)
    return _unpack_more(Entry(path, _KINDS[kind], mode, uid, gid, mtime, size), Reader(record, FIXED.size))


def _unpack_more(entry: Entry, read: Reader) -> Entry:
    found = read.take(32) if entry.kind in _CONTENT else _NO_DIGEST
    digest = "" if found == _NO_DIGEST else found.hex()
    link = read.sized() if entry.kind in _LINKS else b""
    major, minor = _DEVICE.unpack(read.take(_DEVICE.size)) if entry.kind in _DEVICES else (0, 0)
    xattrs = []
    while read.left():
        xattrs.append((read.sized(), read.sized()))
    return entry._replace(digest=digest, link=link, major=major, minor=minor, xattrs=tuple(xattrs))


def sized(data: bytes) -> bytes:
    """`data` after its length."""
    return _LENGTH.pack(len(data)) + data


def count(number: int) -> bytes:
    return _LENGTH.pack(number)


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

    def left(self) -> int:
        return len(self._data) - self._at
