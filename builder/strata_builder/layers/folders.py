"""Paths below one root, reached component by component without following a link.

A directory is opened by its parent's descriptor with O_NOFOLLOW, so neither an archive nor a running process can lead a
write or a read outside the root, whatever it puts in the way.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from strata_builder import errors
from strata_builder.layers import paths

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Descriptors kept open on the way to the last directory; deeper ones are opened afresh.
_KEPT: Final = 128


class Folders:
    """The directories below `root`, the last used chain of them kept open. Not for use by two threads at once."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._chain: list[tuple[bytes, int]] = []
        self._deep: tuple[bytes, int] | None = None
        self._last: tuple[bytes, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes all descriptors; calling it again does nothing."""
        self._cut(0)
        root, self._root = getattr(self, "_root", -1), -1
        if root >= 0:
            os.close(root)

    def fd(self, folder: bytes) -> int:
        """A descriptor of the directory, valid until the next call of any method.

        Raises FileNotFoundError, or NotADirectoryError for whatever else stands there or on the way (a link too).
        """
        if self._last is not None and self._last[0] == folder:
            return self._last[1]
        at, path, rest = self._nearest(folder)
        for part in rest:
            path = paths.join(path, part)
            at = self._enter(path, part, at)
        self._last = folder, at
        return at

    def _nearest(self, folder: bytes) -> tuple[int, bytes, list[bytes]]:
        """The last open directory on the way to `folder`: descriptor and path, and the components that follow."""
        if self._deep is not None and (folder == self._deep[0] or paths.is_below(folder, self._deep[0])):
            path, at = self._deep
            return at, path, folder[len(path) + 1 :].split(b"/") if folder != path else []
        parts = folder.split(b"/") if folder else []
        common = 0
        while common < min(len(parts), len(self._chain)) and self._chain[common][0] == parts[common]:
            common += 1
        self._cut(common)
        at = self._chain[-1][1] if self._chain else self._root
        return at, b"/".join(parts[:common]), parts[common:]

    def _enter(self, path: bytes, name: bytes, parent: int) -> int:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            # Without the right to read a directory one may still pass through it.
            fd = os.open(name, _DIRECTORY | os.O_PATH, dir_fd=parent)
        if len(self._chain) < _KEPT:
            self._chain.append((name, fd))
        else:
            self._close_deep()
            self._deep = (path, fd)
        return fd

    def _cut(self, length: int) -> None:
        self._last = None
        self._close_deep()
        while len(getattr(self, "_chain", ())) > length:
            os.close(self._chain.pop()[1])

    def _close_deep(self) -> None:
        self._last = None
        deep, self._deep = getattr(self, "_deep", None), None
        if deep is not None:
            os.close(deep[1])

    def forget(self, path: bytes) -> None:
        """To be called before `path` stops being the directory that it was."""
        if self._deep is not None and (self._deep[0] == path or paths.is_below(self._deep[0], path)):
            self._close_deep()
        for depth, (name, _) in enumerate(self._chain):
            if depth >= path.count(b"/") or path.split(b"/")[depth] != name:
                self._cut(depth)
                return

    def stat(self, path: bytes) -> os.stat_result:
        """lstat. Raises OSError."""
        if not path:
            return os.fstat(self._root)
        parent, name = paths.split(path)
        return os.stat(name, dir_fd=self.fd(parent), follow_symlinks=False)

    def open(self, path: bytes) -> io.FileIO:
        """A regular file's content, raw; its access time is left alone where the kernel allows it.

        Raises OSError; LayerError if it is no regular file.
        """
        parent, name = paths.split(path)
        folder = self.fd(parent)
        try:
            fd = os.open(name, _READ | os.O_NOATIME, dir_fd=folder)
        except PermissionError:
            # O_NOATIME is for a file's owner alone.
            fd = os.open(name, _READ, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise errors.LayerError(
                f"{paths.show(path)} is no regular file any more", hint="stop what changes the files"
            )
        return io.FileIO(fd, "rb")

    def handle(self, path: bytes) -> bytes:
        """A name under /proc of `path` itself, for calls that take no directory descriptor (extended attributes)."""
        parent, name = paths.split(path)
        return b"/proc/self/fd/%d/%b" % (self.fd(parent), name or b".")

    def attributes(self, path: bytes) -> list[bytes]:
        """The names of all extended attributes of `path`; none where its file system has none. Raises OSError."""
        try:
            return [os.fsencode(name) for name in os.listxattr(self.handle(path), follow_symlinks=False)]
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return []

    def remove(self, path: bytes, keep: Callable[[bytes], bool] = lambda _: False) -> None:
        """Removes `path` and all below it but what `keep` names (and the directories on the way there).

        A path that is not there is fine. Raises OSError."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(self.stat(path).st_mode):
                if not keep(path):
                    os.unlink(paths.split(path)[1], dir_fd=self.fd(paths.split(path)[0]))
                return
            for folder in reversed(self._emptied(path, keep)):
                self._remove_folder(folder, keep)

    def _emptied(self, path: bytes, keep: Callable[[bytes], bool]) -> list[bytes]:
        """Unlinks all that is no directory; returns the directories, parents first."""
        found, todo = [], [path]
        while todo:
            folder = todo.pop()
            found.append(folder)
            for name, is_dir in self.names(folder):
                inside = paths.join(folder, name)
                if is_dir:
                    todo.append(inside)
                elif not keep(inside):
                    os.unlink(name, dir_fd=self.fd(folder))
        return found

    def _remove_folder(self, folder: bytes, keep: Callable[[bytes], bool]) -> None:
        if keep(folder) or not folder:
            return
        self.forget(folder)
        parent, name = paths.split(folder)
        if not self.names(folder):
            os.rmdir(name, dir_fd=self.fd(parent))

    def names(self, folder: bytes) -> list[tuple[bytes, bool]]:
        """(name, whether it is a directory) of all in `folder`, sorted by name. Raises OSError."""
        fd = self.fd(folder)
        try:
            with os.scandir(fd) as found:
                return sorted((os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in found)
        except OSError as error:
            if error.errno == errno.EBADF:  # opened with O_PATH, for want of the right to read it
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fsdecode(folder)) from error
            raise
