"""Places and mounts by descriptor: what was found once is not looked up again. Each raises OSError."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strata_builder.rootfs import kernel

# System calls since number 424 have the same one on every machine.
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_OPENAT2: Final = 437
# <linux/openat2.h>, <linux/mount.h>, <linux/fcntl.h>
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x10
_OPEN_TREE_CLONE: Final = 0x1
_FROM_EMPTY_PATH, _TO_EMPTY_PATH = 0x04, 0x40
AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000

_STRAIGHT: Final = (ctypes.c_uint64 * 3)(
    os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS
)


def straight(root: int, path: bytes) -> int | None:
    """What lies at `path` inside the directory `root`, if it is there and no link leads to it: openat2(2)."""
    size = ctypes.sizeof(_STRAIGHT)
    found: int = kernel.libc().syscall(_OPENAT2, root, path or b".", ctypes.byref(_STRAIGHT), size)
    return None if found < 0 else found


@contextmanager
def copied(place: bytes, *, folder: int = AT_FDCWD, recursive: bool = True) -> Iterator[int]:
    """The mount at `place` (relative to `folder`), with those below it, once more and mounted nowhere yet: open_tree(2)."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    mounted = kernel.checked(kernel.libc().syscall(_OPEN_TREE, folder, place, flags), f"bind {os.fsdecode(place)}")
    try:
        yield mounted
    finally:
        os.close(mounted)


def attach(mounted: int, point: int) -> None:
    """Mounts what `copied` gave on the file or directory that `point` is: move_mount(2)."""
    flags = _FROM_EMPTY_PATH | _TO_EMPTY_PATH
    kernel.checked(kernel.libc().syscall(_MOVE_MOUNT, mounted, b"", point, b"", flags), "mount what was copied")
