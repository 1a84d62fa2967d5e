"""One path of a tree or of a layer, as a value. Pure; below every package that speaks of files.

Named tuples: a layer may have a million of them, and a frozen dataclass takes six times as long to make.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol


class Kind(enum.IntEnum):
    """What a path is. Sockets have no place in a layer, so there is no kind for them."""

    FILE = 0
    DIR = 1
    SYMLINK = 2
    HARDLINK = 3
    CHAR = 4
    BLOCK = 5
    FIFO = 6


#: By the file type of st_mode (inode(7)).
KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


class Entry(NamedTuple):
    """One path: `path` in bytes relative to the root, without leading or trailing slash; the root itself is b"".

    `mode` holds the twelve permission bits. `mtime` is whole seconds. `link` is a symlink's text or, of a hard link, the
    path that it names. `xattrs` are sorted by name. `digest` is a file's (hex, see `contents`) where it is known.
    """

    path: bytes
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    digest: str = ""


def with_digest(entry: Entry, digest: str) -> Entry:
    """`entry._replace(digest=digest)` in half the time: of each file of a context."""
    return Entry._make((*entry[:-1], digest))


class Readable(Protocol):
    """A raw binary file: what `open(path, "rb", buffering=0)` gives."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None: ...
    def read(self, size: int = -1, /) -> bytes | None: ...
    def close(self) -> None: ...


class Item(NamedTuple):
    """An entry to be packed; `open` gives a file's content and is None for every other kind."""

    entry: Entry
    open: Callable[[], Readable] | None = None
