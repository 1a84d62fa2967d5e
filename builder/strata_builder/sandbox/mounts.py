"""The step's mount namespace: its root, what is mounted in it, and the way into it. Runs as PID 1 of the new namespaces,
with no other process in sight."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from strata_builder import errors
from strata_builder.rootfs import kernel, stack
from strata_builder.sandbox import command, devices, handles
from strata_builder.sandbox.request import Request
from strata_builder.sandbox.targets import Targets

_QUIET: Final = kernel.MS_NOSUID | kernel.MS_NOEXEC | kernel.MS_NODEV
_HIDDEN_FILES: Final = (
    b"/proc/kcore",
    b"/proc/interrupts",
    b"/proc/keys",
    b"/proc/latency_stats",
    b"/proc/timer_list",
    b"/proc/sched_debug",
)
_HIDDEN_FOLDERS: Final = (b"/proc/acpi", b"/proc/asound", b"/proc/scsi", b"/sys/firmware")
_READ_ONLY: Final = (b"/proc/bus", b"/proc/fs", b"/proc/irq", b"/proc/sys", b"/proc/sysrq-trigger")


def enter(request: Request) -> list[bytes]:
    """Makes the root, mounts everything, and changes into it; returns the mount points made for that, parents first.

    Raises BuildError, OSError."""
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    root = os.fsencode(request.root)
    stack.mount(request.stack, request.root)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    targets = Targets(handle)
    _Mounts(request, targets).all()
    made = list(targets.made)
    _change_root(root, handle)
    _hide()
    return made


class _Mounts:
    def __init__(self, request: Request, targets: Targets) -> None:
        self._request, self._targets = request, targets
        self._shelf = 0

    def all(self) -> None:
        self._system()
        self._keep_shelf()
        for name, content in self._request.files.items():
            self._file(name.encode(), content, 0o644, 0, 0)
        for spec in command.in_order(self._request.command.mounts):
            self._one(spec)
        os.close(self._shelf)

    def _system(self) -> None:
        """/proc, /dev and /sys."""
        kernel.mount(b"proc", self._targets.folder(b"proc"), b"proc", _QUIET)
        kernel.mount(b"tmpfs", self._targets.folder(b"dev"), b"tmpfs", _QUIET, b"mode=755,size=64k")
        devices.fill(self._targets.inside(b"dev"))
        self._sys()

    def _sys(self) -> None:
        """Of a network namespace of the step's own, with its interfaces only, or the one that is there."""
        if self._request.command.network == "none":
            with suppress(PermissionError):  # where something is mounted below the outer /sys, that is all one may see
                kernel.mount(b"sysfs", self._targets.folder(b"sys"), b"sysfs", _QUIET)
                kernel.set_mount(self._targets.top(b"sys"), kernel.ATTR_RDONLY)
                return
        point = self._targets.point(b"sys", directory=True)
        try:
            _bind(b"/sys", point, kernel.ATTR_RDONLY, recursive=False)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Another user namespace's mounts below /sys may not be left off.
            _bind(b"/sys", point, kernel.ATTR_RDONLY)

    def _keep_shelf(self) -> None:
        """A file system in memory, in no directory in the end: secrets never touch a disk."""
        place = os.fsencode(self._request.root.parent / "shelf")
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
        kernel.mount(b"tmpfs", place, b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, b"mode=700")
        self._shelf = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._count = 0

    def _one(self, spec: command.MountSpec) -> None:
        if spec.kind == "tmpfs":
            size = b",size=%d" % spec.size if spec.size else b""
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | (kernel.MS_RDONLY if spec.readonly else 0)
            kernel.mount(b"tmpfs", self._targets.folder(spec.target), b"tmpfs", flags, b"mode=%o" % spec.mode + size)
        elif spec.content is not None:
            self._file(spec.target, spec.content, spec.mode, spec.uid, spec.gid)
        elif spec.source is not None:
            point = self._targets.point(spec.target, directory=spec.source.is_dir())
            attributes = kernel.ATTR_NODEV | (kernel.ATTR_RDONLY if spec.readonly else 0)
            _bind(os.fsencode(spec.source), point, attributes)
        else:
            raise errors.InfrastructureFailed(f"the {spec.kind} mount at {os.fsdecode(spec.target)} has no source")

    def _file(self, target: bytes, content: bytes, mode: int, uid: int, gid: int) -> None:
        name = b"%d" % self._count
        self._count += 1
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._shelf)
        while content:
            content = content[os.write(fd, content) :]
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.close(fd)
        _bind(name, self._targets.point(target, directory=False), kernel.ATTR_NODEV, folder=self._shelf)


def _bind(
    source: bytes, point: int, attributes: int, *, folder: int = handles.AT_FDCWD, recursive: bool = True
) -> None:
    """Shows `source` at `point` with ATTR_ flags, which it has before anybody can see it."""
    with handles.copied(source, folder=folder, recursive=recursive) as mounted:
        kernel.set_mount(mounted, attributes)
        handles.attach(mounted, point)


def _change_root(root: bytes, handle: int) -> None:
    """pivot_root where it is allowed: then nothing of the old root is left in the namespace. Else the root is moved
    over the old one, which no path leads to any more."""
    os.chdir(root)
    try:
        kernel.pivot_root(b".", b".")
        os.fchdir(handle)
        kernel.unmount(b".")
    except PermissionError:
        kernel.mount(root, b"/", None, kernel.MS_MOVE)
        os.chroot(b".")
    os.chdir(b"/")
    os.close(handle)


def _hide() -> None:
    """What of /proc and /sys tells of the machine or changes it, as Docker does."""
    for path in _READ_ONLY:
        if os.path.lexists(path):
            with handles.copied(path) as mounted:
                kernel.set_mount(mounted, kernel.ATTR_RDONLY)
                kernel.attach(mounted, path)
    for path in _HIDDEN_FILES:
        if os.path.lexists(path):
            kernel.mount(b"/dev/null", path, None, kernel.MS_BIND)
    for path in _HIDDEN_FOLDERS:
        if os.path.lexists(path):
            kernel.mount(b"tmpfs", path, b"tmpfs", _QUIET | kernel.MS_RDONLY, b"size=4k")
