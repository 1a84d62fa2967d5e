"""What another process does for a folder's tree: it reads directories and hashes files.

Whatever it cannot do it leaves open: whoever asked looks again, and says what is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

from strata_builder import errors
from strata_builder.context import descriptors, listing, scan, stable

Root = tuple[bytes, int, int]
"""A directory: its path, device and inode."""

_last: list[tuple[Root, descriptors.Descriptors]] = []


def read(root: Root, folders: list[bytes], most: int) -> list[tuple[listing.Parts, bytes] | None]:
    """Directories below `root`; and of each the digests of its regular files in their order, if these have no further
    names and no more than `most` bytes together, else nothing."""
    return [_read(_folders(root), folder, most) for folder in folders]


def _read(folders: descriptors.Descriptors, folder: bytes, most: int) -> tuple[listing.Parts, bytes] | None:
    try:
        with folders.folder(folder) as descriptor:
            found = scan.read(descriptor, folder)
    except (OSError, errors.LayerError):
        return None
    files = found.files()
    if found.is_shared or sum(map(found.size, files)) > most:
        return found.parts(), b""
    return found.parts(), _digests(folders, folder, [found.names[at] for at in files], found.stamps(files))


def digests(root: Root, folder: bytes, names: list[bytes], stamps: bytes) -> bytes:
    """Of each of a directory's files with its stamp the digest, listing.UNKNOWN for what is not so, or cannot be read."""
    return _digests(_folders(root), folder, names, stamps)


def _digests(folders: descriptors.Descriptors, folder: bytes, names: list[bytes], stamps: bytes) -> bytes:
    size = stable.STAMP
    return b"".join(
        [_digest(folders, folder, name, stamps[at * size : (at + 1) * size]) for at, name in enumerate(names)]
    )


def _digest(folders: descriptors.Descriptors, folder: bytes, name: bytes, stamp: bytes) -> bytes:
    try:
        return bytes.fromhex(stable.digest(folders.open(folder, name, descriptors.FILE), stamp, name))
    except (OSError, errors.LayerError):
        return listing.UNKNOWN


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
