"""Folders on a tmpfs of their own: what lies in one is known at any moment, and gone in one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """`folder`, made where it is missing, with a tmpfs over it. Needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    # Its limit is the machine's memory: by default a tmpfs may hold half of it.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100%,nr_inodes=0,mode=0755", "bench", folder], check=True)
    try:
        yield folder
    finally:
        # Lazily: a daemon may have the mount in a namespace of its own, and ends only after this.
        subprocess.run(["umount", "--lazy", folder], check=True)


def used(folder: Path) -> int:
    """Bytes that are in use on the file system of `folder`."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def available() -> int:
    """Bytes of memory, and so of tmpfs, that could still be had."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
