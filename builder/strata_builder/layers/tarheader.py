"""Entries as tar headers: POSIX ustar, with a pax extended header only where ustar cannot say it. Pure.

Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; SCHILY.xattr as star and Go
write it.
"""

from __future__ import annotations

import functools
from typing import Final
from zlib import adler32

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths

BLOCK: Final = 512
TRAILER: Final = bytes(2 * BLOCK)
XATTR: Final = b"SCHILY.xattr."

_TYPES: Final = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIR: b"5",
    Kind.FIFO: b"6",
}
_MAX_ID: Final = 0o7777777
_MAX_NUMBER: Final = 0o77777777777


def padding(size: int) -> int:
    """How many zero bytes follow `size` bytes of content."""
    return -size % BLOCK


def header(entry: Entry) -> bytes:
    """The blocks that announce `entry`; a FILE's content, padded to 512 bytes, comes after them."""
    name = _name(entry)
    if len(name) <= 100 and not entry.link and not entry.major | entry.minor and not _needs_pax(entry, name, name):
        return _plain(entry, name)
    prefix, rest = _split(name)
    records = _records(entry, name) if _needs_pax(entry, name, rest) else []
    if not records:
        return _ustar(entry, prefix, rest, entry.link)
    body = b"".join(_record(key, value) for key, value in sorted(records))
    return _pax(name, body) + _ustar(entry, b"", _ascii(name)[-100:].lstrip(b"/"), _ascii(entry.link)[:100])


def whiteout(path: bytes) -> bytes:
    """The blocks of the marker that hides `path`."""
    return header(Entry(path=paths.whiteout_for(path), kind=Kind.FILE, mode=0))


def _name(entry: Entry) -> bytes:
    if entry.kind is not Kind.DIR:
        return entry.path
    return entry.path + b"/" if entry.path else b"./"


def _split(name: bytes) -> tuple[bytes, bytes]:
    """ustar's (prefix, name); the name stays longer than 100 bytes if no split fits."""
    if len(name) <= 100:
        return b"", name
    at = name.rfind(b"/", 0, min(156, len(name) - 1))
    return (name[:at], name[at + 1 :]) if at > 0 else (b"", name)


def _size(entry: Entry) -> int:
    return entry.size if entry.kind is Kind.FILE else 0


def _needs_pax(entry: Entry, name: bytes, rest: bytes) -> bool:
    return bool(
        len(rest) > 100
        or (entry.xattrs and entry.kind is not Kind.HARDLINK)
        or len(entry.link) > 100
        or _size(entry) > _MAX_NUMBER
        or entry.uid > _MAX_ID
        or entry.gid > _MAX_ID
        or not 0 <= entry.mtime <= _MAX_NUMBER
        or not (name.isascii() and entry.link.isascii())
    )


def _records(entry: Entry, name: bytes) -> list[tuple[bytes, bytes]]:
    # A hard link's attributes are its file's, which has them already.
    xattrs = () if entry.kind is Kind.HARDLINK else entry.xattrs
    records = [(XATTR + _key(key, entry), value) for key, value in xattrs]
    # With any record at hand a long name goes there whole: the ustar fields beside it are only a fallback.
    if len(name) > 100 or not name.isascii():
        records.append((b"path", name))
    if len(entry.link) > 100 or not entry.link.isascii():
        records.append((b"linkpath", entry.link))
    numbers = ((b"size", _size(entry), _MAX_NUMBER), (b"uid", entry.uid, _MAX_ID), (b"gid", entry.gid, _MAX_ID))
    records += [(key, b"%d" % value) for key, value, limit in numbers if value > limit]
    if not 0 <= entry.mtime <= _MAX_NUMBER:
        records.append((b"mtime", b"%d" % entry.mtime))
    return records


def _key(key: bytes, entry: Entry) -> bytes:
    if b"=" in key or b"\0" in key or not key:
        raise errors.LayerError(
            f"{paths.show(entry.path)}: the extended attribute {paths.show(key)} has a name that a tar cannot carry",
            hint="remove the attribute, or rename it so that it has no '='",
        )
    return key


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _pax(name: bytes, body: bytes) -> bytes:
    holder = b"PaxHeaders.0/" + _ascii(name.rstrip(b"/").rpartition(b"/")[2])[:80]
    block = _block(b"", holder, 0o644, 0, 0, len(body), 0, b"x", b"", 0, 0)
    return block + body + bytes(padding(len(body)))


def _ascii(name: bytes) -> bytes:
    return name if name.isascii() else bytes(byte if byte < 128 else 63 for byte in name)


def _ustar(entry: Entry, prefix: bytes, name: bytes, link: bytes) -> bytes:
    fits = 0 <= entry.mtime <= _MAX_NUMBER
    return _block(
        prefix,
        name,
        entry.mode,
        entry.uid if entry.uid <= _MAX_ID else 0,
        entry.gid if entry.gid <= _MAX_ID else 0,
        _size(entry) if _size(entry) <= _MAX_NUMBER else 0,
        entry.mtime if fits else 0,
        _TYPES[entry.kind],
        link,
        entry.major,
        entry.minor,
    )


def _plain(entry: Entry, name: bytes) -> bytes:
    """As `_ustar` has it: most differ in name and size alone."""
    owner, time, tail, total = _frame(entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime)
    size = b"%011o\0" % _size(entry)
    total += (adler32(name) & 0xFFFF) + (adler32(size) & 0xFFFF) - 2
    return b"%b%b%b%b%06o\0 %b" % (name.ljust(100, b"\0"), owner, size, time, total, tail)


@functools.lru_cache(maxsize=256)
def _frame(kind: Kind, mode: int, uid: int, gid: int, mtime: int) -> tuple[bytes, bytes, bytes, int]:
    """What stands between name and size, between size and checksum, after that; and the sum of it all."""
    block = _block(b"", b"", mode, uid, gid, 0, mtime, _TYPES[kind], b"", 0, 0)
    parts = block[100:124], block[136:148], block[156:]
    return *parts, sum(map(byte_sum, parts)) + 8 * 32


def _block(
    prefix: bytes,
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    kind: bytes,
    link: bytes,
    major: int,
    minor: int,
) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        kind,
        link.ljust(100, b"\0"),
        bytes(64),
        major,
        minor,
        prefix.ljust(167, b"\0"),
    )
    return head + b"%06o\0 " % (byte_sum(head) + byte_sum(tail) + 8 * 32) + tail


def byte_sum(data: bytes) -> int:
    """The sum of up to 512 bytes: half of Adler-32 is just that while it stays below 65521, hence the two halves."""
    return (adler32(data[:256]) & 0xFFFF) + (adler32(data[256:]) & 0xFFFF) - 2
