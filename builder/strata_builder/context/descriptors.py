"""Open directories: a file costs one open, not one for each directory above it."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: A regular file, to be read. A fifo that took its place must not make the open wait for a writer.
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_NAMES: Final = frozenset((b"", b".", b".."))
_KEPT: Final = 32


class Descriptors:
    """Descriptors of directories below `root`, each opened in its parent, never through a link; the root may be one.

    Those that were asked for last stay open, until the object goes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: dict[bytes, int] = {}
        weakref.finalize(self, _close_all, self._open)

    @contextlib.contextmanager
    def folder(self, path: bytes) -> Iterator[int]:
        """The descriptor of a directory, for as long as the context lasts. Raises OSError."""
        with self._lock:
            yield self._descriptor(path)

    def open(self, folder: bytes, name: bytes, flags: int) -> int:
        """A descriptor of what is called `name` in a directory, the caller's to close. Raises OSError."""
        with self._lock:
            return os.open(name, flags, dir_fd=self._descriptor(folder))

    def _descriptor(self, path: bytes) -> int:
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            descriptor = self._opened(path)
            if len(self._open) >= _KEPT:
                os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = descriptor  # the last that goes
        return descriptor

    def _opened(self, path: bytes) -> int:
        """From the nearest directory above that is open."""
        if path and not _NO_NAMES.isdisjoint(path.split(b"/")):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        above, rest = path, list[bytes]()
        while above and above not in self._open:
            above, _, name = above.rpartition(b"/")
            rest.append(name)
        descriptor = os.dup(self._open[above]) if above in self._open else os.open(self._root, _FLAGS & ~os.O_NOFOLLOW)
        for name in reversed(rest):
            try:
                inner = os.open(name, _FLAGS, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def _close_all(descriptors: dict[bytes, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
