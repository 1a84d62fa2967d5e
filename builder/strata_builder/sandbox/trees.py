"""Folders of this machine copied and removed whole, without following a link in them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from strata_builder.entries import Kind
from strata_builder.layers import folders, paths, walk


def remove(path: Path) -> None:
    """Whatever is at `path`, if anything. Raises OSError."""
    with folders.Folders(path.parent) as tree:
        tree.remove(os.fsencode(path.name))


def move(source: Path, target: Path) -> None:
    """Makes the new `target` what the folder `source` is, which is no more; copied between file systems."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target)
        remove(source)


def copy(source: Path, target: Path) -> None:
    """Makes `target` what `source` (a folder or a file) is: owners, modes, attributes, times, links; hard links become
    files of their own. Raises OSError, LayerError."""
    if not source.is_dir():
        shutil.copyfile(source, target)
        _dress(source, target)
        return
    target.mkdir()
    made = []
    with folders.Folders(source) as tree:
        for entry in walk.walk(source):
            place = target / os.fsdecode(entry.path)
            if entry.kind is Kind.DIR:
                place.mkdir()
                made.append(entry.path)
            elif entry.kind is Kind.SYMLINK:
                place.symlink_to(os.fsdecode(entry.link))
            elif entry.kind is Kind.FILE:
                with tree.open(entry.path) as content, place.open("xb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
            else:
                types = {Kind.CHAR: 0o020000, Kind.BLOCK: 0o060000, Kind.FIFO: 0o010000}
                os.mknod(place, types[entry.kind] | 0o600, os.makedev(entry.major, entry.minor))
            if entry.kind is not Kind.DIR:
                _dress(source / os.fsdecode(entry.path), place)
    for path in sorted(made, key=paths.order, reverse=True):
        _dress(source / os.fsdecode(path), target / os.fsdecode(path))
    _dress(source, target)


def _dress(source: Path, target: Path) -> None:
    """Owner first: changing it clears bits and attributes."""
    found = source.lstat()
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)
