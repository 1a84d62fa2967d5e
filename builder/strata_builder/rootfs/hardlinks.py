"""Files of several names become files of one name each.

Over a lower layer that is how an overlay has them once one of them is written to: the other names keep the old content.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from strata_builder.layers import folders, paths

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def part(tree: folders.Folders, path: bytes) -> None:
    """Makes `path` a file of its own if it is a regular one with other names, all else about it as it was. Nothing else
    may work on the tree meanwhile. Raises OSError."""
    found = tree.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink == 1:
        return
    with tree.open(path) as source:
        parent, name = paths.split(path)
        folder = tree.fd(parent)
        before = os.fstat(folder)
        os.unlink(name, dir_fd=folder)
        copy = os.open(name, _CREATE, 0o600, dir_fd=folder)
        try:
            _copy_content(source.fileno(), copy, found.st_size)
            _copy_metadata(source.fileno(), copy, found)
        finally:
            os.close(copy)
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _copy_content(source: int, copy: int, size: int) -> None:
    """lseek(2): holes stay holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(copy, start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(copy, source, start, end - start) or _cut_off()
    os.ftruncate(copy, size)


def _cut_off() -> int:
    raise OSError(errno.EIO, "a file became shorter while it was copied")


def _copy_metadata(source: int, copy: int, found: os.stat_result) -> None:
    """The owner first: changing it clears the bits for set-user-ID and the capabilities."""
    os.fchown(copy, found.st_uid, found.st_gid)
    os.fchmod(copy, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source):
        os.setxattr(copy, name, os.getxattr(source, name))
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
