"""Mount points inside a root: found, or made and remembered, without ever leaving the root."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from strata_builder import errors
from strata_builder.layers import paths
from strata_builder.rootfs import kernel
from strata_builder.sandbox import handles

_MAX_LINKS: Final = 40
#: What the image, or a mount above, does not let be: a file on the way, a read-only mount, /proc, a name too long.
_REFUSED: Final = frozenset(
    (errno.ENOTDIR, errno.EROFS, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
)


class Targets:
    """Mount points below the directory `root`. `made` lists what was not there before, parents first.

    Their names are by descriptors, which stay open until `close` or until the process becomes another program."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._opened: list[int] = []
        self.made: list[bytes] = []

    def close(self) -> None:
        """The names given are void from now on."""
        while self._opened:
            os.close(self._opened.pop())

    def real(self, target: bytes) -> bytes:
        """`target` with its links followed inside the root, relative to it."""
        return self._resolved(target)

    def folder(self, target: bytes) -> bytes:
        """A name of the directory at `target`, its links followed inside the root, for mount(2)."""
        return _name(self.point(target, directory=True))

    def file(self, target: bytes) -> bytes:
        """The same for a file."""
        return _name(self.point(target, directory=False))

    def inside(self, target: bytes) -> bytes:
        """A name of what was mounted at `target`; those of `folder` and `file` lead to what lies under it."""
        return _name(self.top(target))

    def top(self, target: bytes) -> int:
        """What was mounted at `target`, as a descriptor."""
        fd = self._straight(target)
        return self._keep(kernel.open_in_root(self._root, self._resolved(target), os.O_PATH)) if fd is None else fd

    def point(self, target: bytes, *, directory: bool) -> int:
        """The directory or file at `target`, made if it is missing, as a descriptor."""
        try:
            fd = self._straight(target)
            if fd is None:
                fd = self._made_or_found(self._resolved(target), directory=directory)
        except OSError as error:
            raise _not_there(target, error) from error
        if stat.S_ISDIR(os.fstat(fd).st_mode) != directory:
            raise errors.DockerfileError(
                f"a {'directory' if directory else 'file'} cannot be mounted at {paths.show(target)}: there is "
                f"a {'file' if directory else 'directory'} in the image",
                hint="choose another target for the mount",
            )
        return fd

    def _straight(self, target: bytes) -> int | None:
        """The usual case, in one call."""
        fd = handles.straight(self._root, target)
        return None if fd is None else self._keep(fd)

    def _keep(self, fd: int) -> int:
        self._opened.append(fd)
        return fd

    def _made_or_found(self, real: bytes, *, directory: bool) -> int:
        for path in (*paths.parents(real), real):
            if not self._exists(path):
                self._make(path, directory=directory or path != real)
        return self._keep(kernel.open_in_root(self._root, real, os.O_PATH | os.O_NOFOLLOW))

    def _exists(self, path: bytes) -> bool:
        try:
            os.close(kernel.open_in_root(self._root, path, os.O_PATH | os.O_NOFOLLOW))
        except FileNotFoundError:
            return False
        return True

    def _make(self, path: bytes, *, directory: bool) -> None:
        """The parent keeps its time: a mount point leaves no trace."""
        parent, name = paths.split(path)
        fd = kernel.open_in_root(self._root, parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            before = os.fstat(fd)
            if directory:
                os.mkdir(name, 0o755, dir_fd=fd)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=fd))
            self.made.append(path)
            with suppress(PermissionError):
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)

    def _resolved(self, target: bytes) -> bytes:
        """`target` without links: dangling ones too lead to where the mount point is then made."""
        done: list[bytes] = []
        todo = target.split(b"/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                del done[-1:]
            elif part not in (b"", b"."):
                link = self._link(b"/".join([*done, part]))
                if link is None:
                    done.append(part)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise errors.DockerfileError(f"the mount target {paths.show(target)} has too many symbolic links")
                if link.startswith(b"/"):
                    done.clear()
                todo.extend(link.split(b"/")[::-1])
        return b"/".join(done)

    def _link(self, path: bytes) -> bytes | None:
        """A symbolic link's text; None for everything else."""
        try:
            fd = kernel.open_in_root(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        try:
            return os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)


def _name(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def _not_there(target: bytes, error: OSError) -> Exception:
    """Whose fault it is that there is no mount point at `target`."""
    if error.errno not in _REFUSED:
        return error
    return errors.DockerfileError(
        f"nothing can be mounted at {paths.show(target)}: it is not there and cannot be made: {error.strerror}",
        hint="choose another target; where a read-only mount lies above it, give that rw, or its source such a path",
    )
