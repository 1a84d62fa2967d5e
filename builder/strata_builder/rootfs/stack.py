"""One overlay mount over unpacked layers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.frozen import frozen
from strata_builder.rootfs import kernel

#: OVL_MAX_STACK of Linux.
MAX_LOWERS: Final = 500
#: Content and names stay where a walk of the upper directory finds them (userxattr also keeps directories from being
#: redirected), and nothing waits for the disk.
_OPTIONS: Final[list[tuple[bytes, bytes | None]]] = [
    (b"userxattr", None),
    (b"index", b"off"),
    (b"metacopy", b"off"),
    (b"volatile", None),
]


@frozen
class Stack:
    """Folders of unpacked layers, the lowest first (at least one), and where changes go: `upper` and the empty `work`
    on one file system with each other."""

    lowers: tuple[Path, ...]
    upper: Path
    work: Path


def mount(stack: Stack, target: Path) -> None:
    """Shows `stack` at the directory `target`; device nodes in it cannot be opened. Raises NotSupported, OSError."""
    if len(stack.lowers) > MAX_LOWERS:
        raise errors.NotSupported(
            f"the step's root has {len(stack.lowers)} layers, and the kernel stacks at most {MAX_LOWERS}",
            hint="join RUN, COPY and ADD instructions, or squash the base image",
        )
    with _short_names(stack) as names:
        try:
            _mount_each(names, os.fsencode(target))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            _mount_joined(names, os.fsencode(target), error)


@frozen
class _Names:
    lowers: Sequence[bytes]
    upper: bytes
    work: bytes


@contextmanager
def _short_names(stack: Stack) -> Iterator[_Names]:
    """Names by descriptor: an option holds 255 bytes, and a colon in a path would need escaping."""
    with ExitStack() as opened:

        def name(path: Path) -> bytes:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            return b"/proc/self/fd/%d" % fd

        yield _Names([name(path) for path in reversed(stack.lowers)], name(stack.upper), name(stack.work))


def _mount_each(names: _Names, target: bytes) -> None:
    """One option a layer: since Linux 6.5, without a limit on their joint length."""
    places = [(b"lowerdir+", lower) for lower in names.lowers]
    where: list[tuple[bytes, bytes | None]] = [*places, (b"upperdir", names.upper), (b"workdir", names.work)]
    with kernel.new_mount(b"overlay", [*where, *_OPTIONS], kernel.ATTR_NODEV) as mounted:
        kernel.attach(mounted, target)


def _mount_joined(names: _Names, target: bytes, first: OSError) -> None:
    """The way of older kernels, where all options share one page. Raises `first` where they do not fit."""
    places = [b"lowerdir=" + b":".join(names.lowers), b"upperdir=" + names.upper, b"workdir=" + names.work]
    data = b",".join([*places, *(name if value is None else name + b"=" + value for name, value in _OPTIONS)])
    if len(data) >= 4096:
        raise first
    kernel.mount(b"overlay", target, b"overlay", kernel.MS_NODEV, data)
