"""Reading a file that must not change meanwhile: a layer made of two versions of a file would be wrong silently."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strata_builder import errors
from strata_builder.context import tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one version of a file from another. The kernel moves ctime with every write and change of mode."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class StableFile(io.RawIOBase):
    """The regular file behind `descriptor` (which it closes), checked against `stamp` when opened and at its end.

    Raises LayerError from the constructor, and from reads, once the file is not what it was.
    """

    def __init__(self, descriptor: int, stamp: Stamp, path: bytes) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._stamp = stamp
        self._path = path
        self._position = 0
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if not view:
            return 0
        try:
            count = os.readv(self._descriptor, [view])
        except OSError as e:
            raise errors.LayerError(f"cannot read {tree.show(self._path)} of the context: {e.strerror}") from e
        self._position += count
        if self._position > self._stamp.size or (count == 0 and self._position < self._stamp.size):
            raise changed(self._path)
        if self._position == self._stamp.size:
            self._check()
        return count

    def sha256(self) -> str:
        """Hex over the whole content; the file must not have been read from yet."""
        hasher = hashlib.sha256()
        buffer = memoryview(bytearray(min(self._stamp.size, _BUFFER)))
        while self._position < self._stamp.size:
            hasher.update(buffer[: self.readinto(buffer)])
        return hasher.hexdigest()

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)

    def _check(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or Stamp.of(status) != self._stamp:
            raise changed(self._path)


def changed(path: bytes) -> errors.LayerError:
    return errors.LayerError(
        f"{tree.show(path)} changed while the build was reading the context",
        hint="let whatever writes to the context end first, or keep the file out of it with .dockerignore",
    )
