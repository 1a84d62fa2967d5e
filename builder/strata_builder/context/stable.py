"""Reading a file that must not change meanwhile: a layer made of two versions of a file would be wrong silently."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from strata_builder import errors
from strata_builder.context import tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER: Final = 1 << 20


class Stamp(NamedTuple):
    """What tells one version of a file from another. The kernel moves ctime with every write and change of mode."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class StableFile:
    """The regular file behind `descriptor` (which it closes), checked against `stamp` where its end is reached.

    Reads raise LayerError once the file is not what it was. A raw file, but none of `io`: there are as many of these as
    files in a context, and those take a microsecond more each for what nobody uses.
    """

    __slots__ = ("_descriptor", "_path", "_position", "_stamp")

    def __init__(self, descriptor: int, stamp: Stamp, path: bytes) -> None:
        self._descriptor = descriptor
        self._stamp = stamp
        self._path = path
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if not view:
            return 0
        try:
            return self._advanced(os.readv(self._descriptor, [view]))
        except OSError as e:
            raise self._unreadable(e) from e

    def read(self, size: int = -1) -> bytes:
        """As of a raw file; one system call where `size` is more than the file has."""
        if size < 0:
            size = self._stamp.size - self._position + 1
        if self._position == self._stamp.size and self._position:
            return b""  # checked when it got here
        try:
            data = os.read(self._descriptor, size)
        except OSError as e:
            raise self._unreadable(e) from e
        self._advanced(len(data))
        return data

    def _advanced(self, count: int) -> int:
        self._position += count
        if self._position > self._stamp.size or (count == 0 and self._position < self._stamp.size):
            raise changed(self._path)
        if self._position == self._stamp.size:
            self.check()
        return count

    def sha256(self) -> str:
        """Hex over the whole content; the file must not have been read from yet."""
        hasher = hashlib.sha256()
        if self._stamp.size < _BUFFER:
            while data := self.read(self._stamp.size - self._position + 1):
                hasher.update(data)
            return hasher.hexdigest()
        buffer = memoryview(bytearray(_BUFFER))
        while self._position < self._stamp.size:
            hasher.update(buffer[: self.readinto(buffer)])
        return hasher.hexdigest()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def check(self) -> None:
        """Raises LayerError if the file is not what it was."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or Stamp.of(status) != self._stamp:
            raise changed(self._path)

    def _unreadable(self, error: OSError) -> errors.LayerError:
        return errors.LayerError(f"cannot read {tree.show(self._path)} of the context: {error.strerror}")


def changed(path: bytes) -> errors.LayerError:
    return errors.LayerError(
        f"{tree.show(path)} changed while the build was reading the context",
        hint="let whatever writes to the context end first, or keep the file out of it with .dockerignore",
    )
