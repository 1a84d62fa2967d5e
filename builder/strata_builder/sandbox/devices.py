"""A step's own /dev: the nodes that every program expects, and nothing of the machine's."""

from __future__ import annotations

import os
import stat
from typing import Final

from strata_builder.rootfs import kernel

_NODES: Final = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
_LINKS: Final = (
    (b"ptmx", b"pts/ptmx"),
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
)


def fill(place: bytes) -> None:
    """Makes the empty directory `place`, on a file system in memory, a /dev. Raises OSError."""
    for name in _NODES:
        _bind(b"/dev/" + name, place + b"/" + name)
    for name, target in _LINKS:
        os.symlink(target, place + b"/" + name)
    for name in (b"pts", b"shm", b"mqueue"):
        os.mkdir(place + b"/" + name, 0o755)
    quiet = kernel.MS_NOSUID | kernel.MS_NOEXEC
    kernel.mount(b"devpts", place + b"/pts", b"devpts", quiet, b"newinstance,ptmxmode=0666,mode=0620")
    kernel.mount(b"shm", place + b"/shm", b"tmpfs", quiet | kernel.MS_NODEV, b"mode=1777,size=64m")
    kernel.mount(b"mqueue", place + b"/mqueue", b"mqueue", quiet | kernel.MS_NODEV)


def _bind(source: bytes, target: bytes) -> None:
    """The machine's own node: making one is refused in user namespaces, and opening it where mounts forbid devices."""
    os.mknod(target, stat.S_IFREG | 0o666)
    kernel.mount(source, target, None, kernel.MS_BIND)
