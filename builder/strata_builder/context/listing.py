"""One directory of a context as it was when it was read. In memory a file is its name and a row of 43 bytes."""

from __future__ import annotations

import bisect
import os
import stat
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from strata_builder.context import stable, tree
from strata_builder.entries import KINDS, Entry, Kind

_TYPE: Final = 0o170000  # of st_mode, inode(7)
_SECOND: Final = 1_000_000_000
DIGEST: Final = 32  # bytes
UNKNOWN: Final = bytes(DIGEST)
#: Stamp, st_mode, and whether the file has further names.
_ROW: Final = struct.Struct("<40sH?")
_KNOWN: Final = struct.Struct("<16xQq8xH")  # size, mtime and st_mode of a row
_MODE: Final = struct.Struct("<40xHx")

Parts = tuple[list[bytes], bytes, dict[int, tuple[bytes, int, tuple[tuple[bytes, bytes], ...]]], bool]
"""A listing as plain values."""


class More(NamedTuple):
    """What few entries have: a link's text, a device's number, extended attributes sorted by name."""

    link: bytes = b""
    device: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_NOTHING: Final = More()


def kind_of(status: os.stat_result) -> Kind | None:
    """None for a socket."""
    return KINDS.get(stat.S_IFMT(status.st_mode))


class Listing:
    """Names in the order of their bytes; each is asked for by its position."""

    __slots__ = ("_digests", "_more", "_rows", "is_shared", "names")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self._rows = bytearray()
        self._more: dict[int, More] = {}
        self._digests: bytearray | None = None
        self.is_shared = False
        """Whether any of the files has further names."""

    @classmethod
    def of(cls, parts: Parts) -> Listing:
        """What `parts` were taken from."""
        found = cls()
        found.names, rows, more, found.is_shared = parts
        found._rows = bytearray(rows)
        found._more = {at: More(*one) for at, one in more.items()}
        return found

    def parts(self) -> Parts:
        more = {at: (one.link, one.device, one.xattrs) for at, one in self._more.items()}
        return self.names, bytes(self._rows), more, self.is_shared

    def add(self, name: bytes, status: os.stat_result, more: More | None) -> None:
        """`name` comes after all that are there; `status` is of none that `kind_of` does not know."""
        if more is not None:
            self._more[len(self.names)] = more
        self.names.append(name)
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            self.is_shared = True
        self._rows += _ROW.pack(stable.stamp(status), status.st_mode, status.st_nlink > 1)

    def find(self, name: bytes) -> int | None:
        """The position of `name`."""
        at = bisect.bisect_left(self.names, name)
        return at if at < len(self.names) and self.names[at] == name else None

    def kind(self, at: int) -> Kind:
        return KINDS[_MODE.unpack_from(self._rows, at * _ROW.size)[0] & _TYPE]

    def stamp(self, at: int) -> bytes:
        start = at * _ROW.size
        return bytes(self._rows[start : start + stable.STAMP])

    def stamps(self, files: Sequence[int]) -> bytes:
        return b"".join([self.stamp(at) for at in files])

    def files(self) -> list[int]:
        """The positions of regular files."""
        return [at for at, row in enumerate(_MODE.iter_unpack(self._rows)) if row[0] & _TYPE == stat.S_IFREG]

    def size(self, at: int) -> int:
        return _KNOWN.unpack_from(self._rows, at * _ROW.size)[0]  # type: ignore[no-any-return]

    def entry(self, at: int, path: bytes) -> Entry:
        """With its digest, if that has been set; `path` is what the name is in the tree."""
        size, mtime, mode = _KNOWN.unpack_from(self._rows, at * _ROW.size)
        kind = KINDS[mode & _TYPE]
        link, device, xattrs = self._more.get(at, _NOTHING) if self._more else _NOTHING
        major, minor = (os.major(device), os.minor(device)) if device else (0, 0)
        digest = ""
        if kind is not Kind.FILE:
            size = 0
        elif self._digests is not None:
            digest = self.digest(at) or ""
        return Entry(path, kind, mode & 0o7777, 0, 0, mtime // _SECOND, size, link, major, minor, xattrs, digest)

    def entries(self, folder: bytes) -> list[tree.Found]:
        """All of it, `folder` being the directory's path in the tree."""
        prefix = folder + b"/" if folder else b""
        shared = self.is_shared or None
        return [
            (name, self.entry(at, prefix + name), shared and self.identity(at)) for at, name in enumerate(self.names)
        ]

    def identity(self, at: int) -> object:
        """The same for all names of one file; None for what has one name, and for what is no file."""
        _, mode, shared = _ROW.unpack_from(self._rows, at * _ROW.size)
        return self.stamp(at)[: stable.IDENTITY] if shared and stat.S_ISREG(mode) else None

    def digest(self, at: int) -> str | None:
        """The digest (hex) of the content, once it has been set."""
        start = at * DIGEST
        found = self._digests and self._digests[start : start + DIGEST]
        return found.hex() if found and found != UNKNOWN else None

    def is_hashed(self, at: int) -> bool:
        start = at * DIGEST
        return self._digests is not None and self._digests[start : start + DIGEST] != UNKNOWN

    def set_digest(self, at: int, digest: bytes) -> None:
        if self._digests is None:
            self._digests = bytearray(len(self.names) * DIGEST)
        self._digests[at * DIGEST : (at + 1) * DIGEST] = digest
