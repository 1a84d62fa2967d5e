"""What a container prints, kept on disk for another to read: its beginning and its end, and how much is left out between.

Three files of fixed names: `head`, and `older` and `newer`, which take turns and begin with the offset of their first
byte. So a log takes a bounded place however much is printed, is whole up to the last line when its writer is killed, and
whoever reads it need not trust the writer.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder.frozen import frozen

_OFFSET: Final = re.compile(rb"@(\d{1,15})\n")
_FIRST_LINE: Final = 17
_SLACK: Final = 128 << 10  # a segment ends with a whole line


@frozen
class Limits:
    """Bytes that are kept of the beginning and of the end."""

    head: int = 64 << 10
    tail: int = 1 << 20


STEPS: Final = Limits()
HELPER: Final = Limits(head=16 << 10, tail=112 << 10)  # of containers that print a few lines


class Writer:
    """Takes whole lines. Raises OSError; not safe to share between threads."""

    def __init__(self, folder: Path, limits: Limits = STEPS) -> None:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._folder, self._limits = folder, limits
        self._size = 0  # bytes that were printed
        self._left = limits.head
        self._file: BinaryIO = (folder / "head").open("wb", buffering=0)

    def write(self, line: bytes) -> None:
        if len(line) > self._left:
            self._turn()
        self._file.write(line)
        self._left -= len(line)
        self._size += len(line)

    def close(self) -> None:
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        newer = self._folder / "newer"
        if newer.exists():
            newer.rename(self._folder / "older")
        self._file = newer.open("wb", buffering=0)
        self._file.write(b"@%d\n" % self._size)
        self._left = self._limits.tail


def read(folder: Path, limits: Limits = STEPS) -> Iterator[str]:
    """The lines that are kept, with one that says how much is left out. Nothing if there is no log; what is not as a
    Writer leaves it is passed over."""
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        head = _content(place, "head", limits.head + _SLACK)
        older, newer = (_content(place, name, limits.tail + _SLACK + _FIRST_LINE) for name in ("older", "newer"))
    finally:
        os.close(place)
    start, tail = _tail(older, newer, limits.tail)
    yield from _lines(head)
    if start > len(head):
        yield f"… {start - len(head)} bytes are left out here …"
    yield from _lines(tail)


def _tail(older: bytes, newer: bytes, limit: int) -> tuple[int, bytes]:
    """The last `limit` bytes from a line's beginning on, and the offset of the first of them."""
    start, data = 0, b""
    for part in (older, newer):
        if found := _OFFSET.match(part):
            start, data = max(int(found[1]) - len(data), 0), data + part[found.end() :]
    if len(data) > limit:
        cut = data.find(b"\n", len(data) - limit - 1) + 1 or len(data) - limit
        start, data = start + cut, data[cut:]
    return start, data


def _content(place: int, name: str, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; never through a link, nor from anything that blocks."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with open(descriptor, "rb") as file:
        return file.read(limit)


def _lines(data: bytes) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in data.removesuffix(b"\n").split(b"\n") if data)
