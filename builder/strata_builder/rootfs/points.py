"""Mount points that were made for a step, and how they go again without a trace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from strata_builder.layers import folders, paths


def forget(root: Path, made: Sequence[bytes]) -> None:
    """Removes the mount points `made` (relative to `root`, parents first), unless the step put something into them."""
    for path in reversed(made):
        with suppress(OSError), same_time(root, path), folders.Folders(root) as tree:
            parent, name = paths.split(path)
            found = tree.stat(path)
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=tree.fd(parent))
            elif stat.S_ISREG(found.st_mode) and not found.st_size:
                os.unlink(name, dir_fd=tree.fd(parent))


@contextmanager
def same_time(root: Path, path: bytes) -> Iterator[None]:
    """The directory that holds `path` keeps its time, if it is there."""
    with folders.Folders(root) as tree:
        try:
            fd = os.dup(tree.fd(paths.split(path)[0]))
        except (FileNotFoundError, NotADirectoryError):
            fd = -1
    if fd < 0:
        yield
        return
    try:
        before = os.fstat(fd)
        yield
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)
