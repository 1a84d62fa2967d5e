"""Linux system calls that Python has no name for: mounts, namespaces, paths inside a root. Each raises OSError."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# <linux/mount.h>
MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 0x2
ATTR_RDONLY: Final = 0x1
ATTR_NOSUID: Final = 0x2
ATTR_NODEV: Final = 0x4
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CREATE: Final = 6
_MOVE_EMPTY_PATH: Final = 0x4
# <linux/sched.h>
CLONE_NEWNS: Final = 0x20000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_CLONE: Final = 56 if os.uname().machine == "x86_64" else 220  # the generic table's
# System calls since number 424 have the same one on every machine.
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_CLOEXEC: Final = 1
_RESOLVE_IN_ROOT: Final = 0x10
_RESOLVE_NO_MAGICLINKS: Final = 0x02

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_with_lock = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, which a child has to hold
_with_lock.syscall.restype = ctypes.c_long


def checked(result: int, what: str) -> int:
    """`result` of a C function. Raises the OSError that it left in errno, naming `what`."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def libc() -> ctypes.CDLL:
    return _libc


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    """mount(2)."""
    checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data), f"mount on {os.fsdecode(target)}")


def unmount(target: bytes, flags: int = MNT_DETACH) -> None:
    """umount2(2), by default lazily: what is in use ends with its users."""
    checked(_libc.umount2(target, flags), f"unmount {os.fsdecode(target)}")


def set_mount(mounted: int, attributes: int) -> None:
    """mount_setattr(2) of the mount whose root `mounted` is, and of all below it: sets ATTR_ flags, leaves the
    others as they are (in a user namespace some are locked)."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE | _AT_EMPTY_PATH
    result = _libc.syscall(_MOUNT_SETATTR, mounted, b"", flags, ctypes.byref(wanted), ctypes.sizeof(wanted))
    checked(result, "set mount attributes")


def unshare(flags: int) -> None:
    """unshare(2)."""
    checked(_libc.unshare(flags), "unshare")


def fork(flags: int) -> int:
    """fork(2) of a process with one thread, the child in new namespaces by `flags` (CLONE_NEW*): clone(2).

    unshare(2) and os.fork would leave this process' later children in the same process namespace, and to go back needs
    rights in the outer one that an unprivileged user's namespace has not.
    """
    return checked(_with_lock.syscall(_CLONE, ctypes.c_ulong(flags | signal.SIGCHLD), None, None, None, None), "clone")


def pivot_root(new: bytes, old: bytes) -> None:
    """pivot_root(2)."""
    checked(_libc.pivot_root(new, old), "pivot_root")


def open_in_root(root: int, path: bytes, flags: int) -> int:
    """openat2(2) with RESOLVE_IN_ROOT: neither `..` nor a link leads out of the directory `root`."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    result = _libc.syscall(_OPENAT2, root, path or b".", ctypes.byref(how), ctypes.sizeof(how))
    return checked(result, os.fsdecode(path))


@contextmanager
def new_mount(kind: bytes, options: list[tuple[bytes, bytes | None]], attributes: int) -> Iterator[int]:
    """A new file system, mounted nowhere yet, as a descriptor for `attach`: fsopen(2), fsconfig(2), fsmount(2)."""
    context = checked(_libc.syscall(_FSOPEN, kind, _CLOEXEC), f"fsopen {kind.decode()}")
    try:
        for name, value in options:
            _configure(context, _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING, name, value)
        _configure(context, _FSCONFIG_CREATE, None, None)
        mounted = checked(_libc.syscall(_FSMOUNT, context, _CLOEXEC, attributes), f"fsmount {kind.decode()}")
    finally:
        os.close(context)
    try:
        yield mounted
    finally:
        os.close(mounted)


def attach(mounted: int, target: bytes) -> None:
    """move_mount(2) of what `new_mount` gave."""
    result = _libc.syscall(_MOVE_MOUNT, mounted, b"", _AT_FDCWD, target, _MOVE_EMPTY_PATH)
    checked(result, f"mount on {os.fsdecode(target)}")


def _configure(context: int, command: int, name: bytes | None, value: bytes | None) -> None:
    result = _libc.syscall(_FSCONFIG, context, command, name, value, 0)
    if result == -1:
        number = ctypes.get_errno()
        why = f"{os.strerror(number)}{_explanation(context)}"
        raise OSError(number, why, f"mount option {os.fsdecode(name or b'all')}")


def _explanation(context: int) -> str:
    """What the kernel wrote into the context's log about its refusal."""
    try:
        text = os.read(context, 4096)
    except OSError:
        return ""
    return f" ({text.decode('utf-8', 'replace').strip()})"
