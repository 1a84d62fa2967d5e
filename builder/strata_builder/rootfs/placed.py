"""The time at which a COPY's files come to a step's root: now, as after a fresh checkout.

In their layer they have a time derived from their content. A program that compares times with what a cache mount kept
(make, ninja, cargo) would take them for old; and a comparison with the view has to know that they are not changed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from strata_builder.entries import Entry
from strata_builder.layers import folders, paths, walk
from strata_builder.rootfs.view import View


def touch(root: Path) -> int:
    """Gives all below the unpacked overlay layer `root` the present time, which is returned in whole seconds."""
    now = time.time_ns()
    with folders.Folders(root) as tree:
        for entry in walk.walk(root):
            parent, name = paths.split(entry.path)
            fd = tree.fd(parent)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0):
                os.utime(name, ns=(now, now), dir_fd=fd, follow_symlinks=False)
    return now // 10**9


class Dated:
    """A view in which what layer n (0 = lowest) brought has the time `times[n]`, for `layers.diff`."""

    def __init__(self, shown: View, times: Mapping[int, int]) -> None:
        self._shown, self._times = shown, times

    def lookup(self, path: bytes, /) -> Entry | None:
        entry = self._shown.lookup(path)
        number = self._shown.layer_of(path) if entry is not None and self._times else None
        if entry is None or number is None or number not in self._times:
            return entry
        return entry._replace(mtime=self._times[number])

    def children(self, path: bytes, /) -> Iterable[bytes]:
        return self._shown.children(path)
