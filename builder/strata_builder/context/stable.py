"""Reading a file that must not change meanwhile: a layer made of two versions of a file would be wrong silently."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from strata_builder import contents, errors
from strata_builder.context import tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER: Final = 1 << 20
SMALL: Final = 64 << 10  # bytes of a file that is read in one piece


_STAMP: Final = struct.Struct("<QQQqq")
#: Bytes of a stamp, and of its part that tells one file from another.
STAMP: Final = _STAMP.size
IDENTITY: Final = 16


class Stamped(NamedTuple):
    """What a stamp says; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def stamp(status: os.stat_result) -> bytes:
    """What tells one version of a file from another. The kernel moves ctime with every write and change of mode."""
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_stamp(stamp: bytes) -> Stamped:
    return Stamped(*_STAMP.unpack(stamp))


def size(stamp: bytes) -> int:
    return _STAMP.unpack(stamp)[2]  # type: ignore[no-any-return]


def whole(descriptor: int, expected: bytes, path: bytes) -> bytes:
    """The content of a small file, whose descriptor is closed. Raises LayerError if it is not what `expected` stamps."""
    length = size(expected)
    try:
        data = os.read(descriptor, length + 1)
        while len(data) < length and (more := os.read(descriptor, length + 1 - len(data))):
            data += more
        status = os.fstat(descriptor)
    except OSError as e:
        raise _unreadable(path, e) from e
    finally:
        os.close(descriptor)
    if len(data) != length or stamp(status) != expected or not stat.S_ISREG(status.st_mode):
        raise changed(path)
    return data


def digest(descriptor: int, expected: bytes, path: bytes) -> str:
    """Hex over the content of a file; otherwise as `whole`."""
    if size(expected) <= SMALL:
        return contents.digest(whole(descriptor, expected, path))
    hasher, buffer = contents.hasher(), memoryview(bytearray(_BUFFER))
    with opened(descriptor, expected, path) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


class StableFile:
    """The regular file behind `descriptor` (which it closes), checked against `stamp` where its end is reached.

    Reads raise LayerError once the file is not what it was. A raw file, but none of `io`: there are as many of these as
    files in a context, and those take a microsecond more each for what nobody uses.
    """

    __slots__ = ("_descriptor", "_path", "_position", "_size", "_stamp")

    def __init__(self, descriptor: int, stamp: bytes, path: bytes) -> None:
        self._descriptor = descriptor
        self._stamp = stamp
        self._path = path
        self._position = 0
        self._size = size(stamp)

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
            raise _unreadable(self._path, e) from e

    def read(self, size: int = -1) -> bytes:
        """As of a raw file; one system call where `size` is more than the file has."""
        if self._position == self._size and self._position:
            return b""  # checked when it got here
        if size < 0:
            size = self._size - self._position + 1
        try:
            data = os.read(self._descriptor, size)
        except OSError as e:
            raise _unreadable(self._path, e) from e
        self._advanced(len(data))
        return data

    def _advanced(self, count: int) -> int:
        self._position += count
        if self._position > self._size or (count == 0 and self._position < self._size):
            raise changed(self._path)
        if self._position == self._size:
            self.check()
        return count

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def check(self) -> None:
        """Raises LayerError if the file is not what it was."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or stamp(status) != self._stamp:
            raise changed(self._path)


def _unreadable(path: bytes, error: OSError) -> errors.LayerError:
    if error.errno == errno.EISDIR:
        return changed(path)
    return errors.LayerError(f"cannot read {tree.show(path)} of the context: {error.strerror}")


def opened(descriptor: int, expected: bytes, path: bytes) -> StableFile:
    """A file that is still what `expected` stamps. Raises LayerError otherwise, having closed the descriptor."""
    file = StableFile(descriptor, expected, path)
    try:
        file.check()
    except BaseException:
        file.close()
        raise
    return file


def changed(path: bytes) -> errors.LayerError:
    return errors.LayerError(
        f"{tree.show(path)} changed while the build was reading the context",
        hint="let whatever writes to the context end first, or keep the file out of it with .dockerignore",
    )
