"""Digests of files that an earlier build hashed, so that an unchanged context is not read again.

A file counts as unchanged if device, inode, size, mtime and ctime are, on a file system of this kernel: it moves ctime with
every write, and nobody can set it. What changed within a second before it was hashed is not remembered, for a later
change could have the same ctime.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from strata_builder.context import stable

#: Of each file its stamp and the digest of its content.
_RECORD: Final = stable.STAMP + 32
_MAGIC: Final = b"strata digests 2\n"
MAX_FILES: Final = 200_000
_SETTLED: Final = 1_000_000_000  # ns; coarser than any clock of a file system below
#: Those of others may keep no ctime, or a made-up one.
_HONEST: Final = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"))


class Digests:
    """Of one context, kept in `file`. Those that this build asked for are kept by `keep`, and no others."""

    def __init__(
        self,
        file: Path,
        *,
        clock: Callable[[], int] = time.time_ns,
        mounts: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self._file = file
        self._clock = clock
        self._devices = frozenset(_honest(mounts))
        self._known = dict(_load(file))
        self._found: set[bytes] = set()
        self._added = bytearray()  # records: as objects, those of a large context would be three times as large

    def find(self, stamp: bytes) -> str | None:
        """The digest (hex) of the file with this stamp, if it is known."""
        found = self._known.get(stamp)
        if found is None or stable.read_stamp(stamp).device not in self._devices:
            return None
        self._found.add(stamp)
        return found.hex()

    def __bool__(self) -> bool:
        """Whether any are known."""
        return bool(self._known)

    def add(self, stamp: bytes, digest: bytes, hashed: int) -> None:
        """`hashed`: the time (ns) at which reading began, or an earlier one."""
        file = stable.read_stamp(stamp)
        if file.device in self._devices and file.ctime_ns + _SETTLED < hashed and self._count() < MAX_FILES:
            self._added += stamp + digest

    def now(self) -> int:
        return self._clock()

    def keep(self) -> None:
        """Writes what was used; nothing if it is what is there."""
        if not self._added and len(self._found) == len(self._known):
            if self._known:
                with contextlib.suppress(FileNotFoundError):  # another build may have found it too old
                    os.utime(self._file)  # it was of use
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with fresh.open("wb") as file:
            file.write(_MAGIC)
            file.writelines(stamp + self._known[stamp] for stamp in sorted(self._found))
            file.write(self._added)
        fresh.rename(self._file)

    def _count(self) -> int:
        return len(self._found) + len(self._added) // _RECORD


def _load(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """None of a file that another version wrote, or that is cut."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    if not data.startswith(_MAGIC) or (len(data) - len(_MAGIC)) % _RECORD or len(data) > MAX_FILES * 2 * _RECORD:
        return
    for at in range(len(_MAGIC), len(data), _RECORD):
        yield data[at : at + stable.STAMP], data[at + stable.STAMP : at + _RECORD]


def _honest(mounts: Path) -> Iterator[int]:
    """Devices of the file systems whose ctime can be relied upon (proc_pid_mountinfo(5))."""
    try:
        lines = mounts.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        mount, _, system = line.partition(b" - ")
        major, _, minor = mount.split(b" ")[2].partition(b":")
        if system.split(b" ")[0].decode("ascii", "replace") in _HONEST:
            yield os.makedev(int(major), int(minor))
