"""A tar header whose one block tells all of its entry, as nearly every block does, read in a few calls to C. Pure.

What is unusual in any way is left to `tarreader`, which reads everything and knows what is wrong with it.
"""

from __future__ import annotations

import functools
import struct
from typing import Final
from zlib import adler32

from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths, tarfields

#: POSIX.1-2017 pax, "ustar Interchange Format": name; mode, uid, gid; size; mtime; chksum; typeflag; linkname; magic; prefix.
_FIELDS: Final = struct.Struct("100s24s12s12s8sc100s6s82x155s12x")
_KINDS: Final = {b"0": Kind.FILE, b"1": Kind.HARDLINK, b"2": Kind.SYMLINK, b"5": Kind.DIR}
_LINKS: Final = (Kind.HARDLINK, Kind.SYMLINK)


def read(block: bytes) -> tuple[Entry, bytes] | None:
    """The entry that the 512 bytes of `block` announce, and what they call it; its content of `size` bytes follows. None
    where they may not be all of it, or are no such header."""
    name, owner, size, time, stated, flag, link, magic, prefix = _FIELDS.unpack(block)
    kind = _KINDS.get(flag)
    if kind is None or _sum(stated) != (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2:
        return None
    owners, length, mtime = _owners(owner), tarfields.octal(size), tarfields.octal(time)
    raw = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:
        raw = prefix.partition(b"\0")[0] + b"/" + raw
    path, target = _path(raw), link.partition(b"\0")[0] if kind in _LINKS else b""
    if owners is None or length is None or mtime is None or not path:
        return None
    if kind in _LINKS and not (target if kind is Kind.SYMLINK else _is_path(target)):
        return None
    mode, uid, gid = owners
    return Entry(path, kind, mode, uid, gid, mtime, length if kind is Kind.FILE else 0, target), raw


def _path(raw: bytes) -> bytes:
    """The path that is called so; b"" where `paths.normalise` has to look, or the name may mean something else."""
    path = raw[2:] if raw[:2] == b"./" else raw
    path = path[:-1] if path[-1:] == b"/" else path
    return path if _is_path(path) else b""


def _is_path(path: bytes) -> bool:
    """A plain path has no part with a dot in front, and so no whiteout either."""
    return path != b"" and paths.is_plain(path)


@functools.lru_cache(4096)
def _sum(stated: bytes) -> int:
    """What all bytes of a block come to that has this checksum, which counts its own eight as spaces; -1: no number."""
    number = tarfields.octal(stated)
    return -1 if number is None else number - 8 * 32 + sum(stated)


@functools.lru_cache(1024)
def _owners(fields: bytes) -> tuple[int, int, int] | None:
    """Mode, uid and gid."""
    mode, uid, gid = (tarfields.octal(fields[at : at + 8]) for at in (0, 8, 16))
    return None if mode is None or uid is None or gid is None else (mode & 0o7777, uid, gid)
