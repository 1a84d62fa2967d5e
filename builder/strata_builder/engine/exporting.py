"""A tree as a folder of this machine, for a bind mount: copied, so that what a step writes never reaches the source."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.engine import selecting
from strata_builder.entries import Entry, Kind
from strata_builder.layers import following
from strata_builder.rootfs import view

__all__ = ["Path", "exported", "inside"]


@contextlib.contextmanager
def exported(tree: Tree, source: str, where: str, scratch: Path) -> Iterator[Path]:
    """`source` of `tree` (a file or a directory) below a new folder of `scratch`, which is removed at the end."""
    found = selecting.one(tree, source, where=where)
    folder = Path(tempfile.mkdtemp(prefix="bind-", dir=scratch))
    try:
        target = folder / "it"
        _write(found.tree, found.path, found.entry, target, target)
        if found.entry.kind == Kind.DIR:
            for below, path, entry in selecting.contents(found, selecting.excludes(())):
                _write(found.tree, path, entry, target / os.fsdecode(below), target)
        yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def inside(merged: Path, source: str, shown: view.View, place: errors.Place) -> Path:
    """`source` below the folder `merged`, its links followed inside of it."""
    path = following.follow(shown.lookup, os.fsencode(source.lstrip("/")))
    if shown.lookup(path) is None and path:
        raise errors.SourceNotFound(f"the mount's source {source!r} is not in the stage or image", place=place)
    return merged / os.fsdecode(path)


def _write(tree: Tree, path: bytes, entry: Entry, target: Path, top: Path) -> None:
    if entry.kind == Kind.DIR:
        target.mkdir(mode=0o755)
        target.chmod(entry.mode | 0o700)
    elif entry.kind == Kind.SYMLINK:
        target.symlink_to(os.fsdecode(entry.link))
    elif entry.kind == Kind.HARDLINK:
        target.hardlink_to(top / os.fsdecode(entry.link))
    elif entry.kind == Kind.FILE:
        _copy(tree, path, target)
        target.chmod(entry.mode)
        os.utime(target, (entry.mtime, entry.mtime))


def _copy(tree: Tree, path: bytes, target: Path) -> None:
    source = tree.open(path)
    buffer = bytearray(1 << 20)
    try:
        with target.open("wb") as out:
            while size := source.readinto(buffer):
                out.write(memoryview(buffer)[:size])
    finally:
        source.close()
