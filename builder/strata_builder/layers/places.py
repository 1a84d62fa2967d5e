"""Where the entries of one layer go below a root: the directories above each are found or made, what stands in the way goes.

What the layer has not spoken of is remembered, for `settle`: a directory that had to be made, and the time of one that was
there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, Self

from strata_builder.entries import Entry
from strata_builder.layers import folders, index, paths

_NO_FOLDER: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Told(Protocol):
    """What the layer has said (so far)."""

    def __contains__(self, path: bytes, /) -> bool: ...
    def lookup(self, path: bytes, /) -> Entry | None: ...


class Places:
    """`implied` are directories made for what the layer puts into them, `times` (ns) what others had before. `skip` names
    paths that are left alone. Not for use by two threads at once."""

    def __init__(self, root: Path, told: Told, skip: Callable[[bytes], bool]) -> None:
        self.folders = folders.Folders(root)
        self.implied: set[bytes] = set()
        self.times: dict[bytes, int] = {}
        self._told, self._skip = told, skip
        self._budget = index.Folders()
        self._last: bytes | None = None  # whose time has been looked at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.folders.close()

    def parent(self, path: bytes) -> int:
        """A descriptor of the directory that holds `path`, made if need be."""
        parent = path.rpartition(b"/")[0]
        try:
            fd = self.folders.fd(parent)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            self.imply(parent, path)
            fd = self.folders.fd(parent)
        if parent != self._last:
            self._last = parent
            if parent not in self.times and parent not in self._told:
                self.times[parent] = os.fstat(fd).st_mtime_ns
        return fd

    def imply(self, folder: bytes, path: bytes) -> None:
        """Makes `folder`, for `path`, and what is above it, where it is missing and the layer has not spoken of it (yet)."""
        for each in (*paths.parents(folder), folder) if folder else ():
            self._imply(each, path)

    def _imply(self, folder: bytes, path: bytes) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self.folders.stat(folder).st_mode):
                return
            known = self._told.lookup(folder)
            if known is not None:
                raise index.below_no_directory(path, folder, known.kind)
        self._budget.add(folder)
        self.directory(folder)
        self.implied.add(folder)
        self.times.pop(folder, None)
        self._last = None

    def make(self, path: bytes, make: Callable[[bytes, int], None]) -> None:
        """Calls `make(name, descriptor of the parent)`, having removed what stands there."""
        fd = self.parent(path)
        name = paths.split(path)[1]
        try:
            make(name, fd)
        except FileExistsError:
            self.folders.remove(path, self._skip)
            make(name, self.parent(path))

    def create(self, path: bytes, flags: int, mode: int) -> int:
        """A descriptor of the new file `path`: open(2). What stands there is removed."""
        name = path.rpartition(b"/")[2]
        try:
            return os.open(name, flags, mode, dir_fd=self.parent(path))
        except FileExistsError:
            self.folders.remove(path, self._skip)
            return os.open(name, flags, mode, dir_fd=self.parent(path))

    def directory(self, path: bytes) -> None:
        """Makes it, its mode for the time being 0700, unless it is one."""
        if not path:
            return
        self.parent(path)
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self.folders.stat(path).st_mode):
                return
        self.make(path, lambda name, fd: os.mkdir(name, 0o700, dir_fd=fd))

    def remember_time(self, folder: bytes) -> None:
        with suppress(OSError):
            self.times.setdefault(folder, self.folders.stat(folder).st_mtime_ns)
