"""What another process does for a folder's tree: it reads directories and hashes files.

Whatever it cannot do it leaves open: whoever asked looks again, and says what is wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from strata_builder import contents, errors
from strata_builder.context import descriptors, listing, scan, stable

Root = tuple[bytes, int, int]
"""A directory: its path, device and inode."""

_last: list[tuple[Root, descriptors.Descriptors]] = []


def read(root: Root, folders: list[bytes], most: int) -> list[tuple[listing.Parts, bytes] | None]:
    """Directories below `root`; and of each the digests of its regular files in their order, if these have no further
    names and no more than `most` bytes together, else nothing."""
    return [_read(_folders(root), folder, most) for folder in folders]


def digests(root: Root, folder: bytes, names: list[bytes], stamps: bytes) -> bytes:
    """Of each of a directory's files with its stamp the digest, listing.UNKNOWN for what is not so, or cannot be read."""
    try:
        with _folders(root).folder(folder) as descriptor:
            return files(descriptor, names, stamps)
    except OSError:
        return listing.UNKNOWN * len(names)


def files(folder: int, names: Sequence[bytes], stamps: bytes) -> bytes:
    """As `digests`, of the directory behind a descriptor."""
    size = stable.STAMP
    return b"".join([_digest(folder, name, stamps[at * size : (at + 1) * size]) for at, name in enumerate(names)])


def _read(folders: descriptors.Descriptors, folder: bytes, most: int) -> tuple[listing.Parts, bytes] | None:
    try:
        with folders.folder(folder) as descriptor:
            found = scan.read(descriptor, folder)
            hashed = found.files()
            if found.is_shared or sum(map(found.size, hashed)) > most:
                return found.parts(), b""
            return found.parts(), files(descriptor, [found.names[at] for at in hashed], found.stamps(hashed))
    except (OSError, errors.LayerError):
        return None


def _digest(folder: int, name: bytes, stamp: bytes) -> bytes:
    """Of small files there are many: without the checks and words of `stable`, for a doubt is UNKNOWN."""
    try:
        descriptor = os.open(name, descriptors.FILE, dir_fd=folder)
        size = stable.size(stamp)
        if size > stable.SMALL:
            return bytes.fromhex(stable.digest(descriptor, stamp, name))
        try:
            data, status = os.read(descriptor, size + 1), os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, errors.LayerError):
        return listing.UNKNOWN
    same = len(data) == size and stable.stamp(status) == stamp and stat.S_ISREG(status.st_mode)
    return contents.hasher(data).digest() if same else listing.UNKNOWN


def _folders(root: Root) -> descriptors.Descriptors:
    """Of the tree of the last call, or of another one, if it is still the same directory."""
    if not _last or _last[0][0] != root:
        path = Path(os.fsdecode(root[0]))
        found = descriptors.Descriptors(path)
        with found.folder(b"") as descriptor:
            status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != root[1:]:
            raise errors.LayerError(f"{path} is another directory by now")
        _last[:] = [(root, found)]
    return _last[0][1]
