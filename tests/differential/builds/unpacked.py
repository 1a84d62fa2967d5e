"""The files that an image's layers say, and those that a program unpacked, in one form."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from differential.builds import compare
from differential.builds.images import Entry, Image, Layer

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of one path. `links` are all names of a file that has several; a directory's time is left
    out: who unpacks into it changes it."""

    kind: str
    mode: int
    owner: tuple[int, int]
    link: str = ""
    content: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    time: int = 0
    links: tuple[str, ...] = ()


def said(image: Image) -> dict[str, Facts]:
    """What the layers of `image` say."""
    state: Layer = {}
    origins: dict[str, tuple[int, str]] = {}
    for number, layer in enumerate(image.layers):
        laid = compare.apply(layer, state)
        origins = {path: _origin(path, layer, number, origins) for path in laid}
        state = {path: _whole(entry, laid) for path, entry in laid.items()}
    groups = _groups((origin, path) for path, origin in origins.items() if state[path].kind == "file")
    return {path: _said(entry, groups.get(origins[path], ())) for path, entry in state.items() if path}


def _origin(path: str, layer: Layer, number: int, below: Mapping[str, tuple[int, str]]) -> tuple[int, str]:
    """The layer and the first name of a path's file: those that agree in it are one file."""
    entry = layer.get(path)
    if entry is None:
        return below[path]
    return (number, entry.link) if entry.kind == "hard link" else (number, path)


def _groups(origins: Iterable[tuple[tuple[int, str], str]]) -> dict[tuple[int, str], tuple[str, ...]]:
    found: dict[tuple[int, str], tuple[str, ...]] = {}
    for origin, path in sorted(origins):
        found[origin] = (*found.get(origin, ()), path)
    return found


def _whole(entry: Entry, laid: Layer) -> Entry:
    """The file itself for a hard link, whose first name may go in a later layer."""
    while entry.kind == "hard link":
        entry = laid[entry.link]
    return entry


def _said(entry: Entry, names: tuple[str, ...]) -> Facts:
    time = 0 if entry.kind == "directory" else int(entry.time)
    owner, links = (entry.uid, entry.gid), names if len(names) > 1 else ()
    return Facts(entry.kind, entry.mode, owner, entry.link, entry.content, entry.device, entry.xattrs, time, links)


def found(root: Path) -> dict[str, Facts]:
    """What lies below `root`."""
    paths = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]
    names: dict[int, list[str]] = {}
    for path in paths:
        names.setdefault(path.lstat().st_ino, []).append(path.relative_to(root).as_posix())
    return {path.relative_to(root).as_posix(): _found(path, sorted(names[path.lstat().st_ino])) for path in paths}


def _found(path: Path, names: list[str]) -> Facts:
    info = path.lstat()
    kind = KINDS[stat.S_IFMT(info.st_mode)]
    return Facts(
        kind,
        0o777 if kind == "symlink" else stat.S_IMODE(info.st_mode),
        (info.st_uid, info.st_gid),
        os.readlink(path) if kind == "symlink" else "",
        hashlib.sha256(path.read_bytes()).hexdigest() if kind == "file" else "",
        (os.major(info.st_rdev), os.minor(info.st_rdev)) if "device" in kind else (0, 0),
        {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)},
        0 if kind == "directory" else int(info.st_mtime),
        tuple(names) if kind == "file" and len(names) > 1 else (),
    )


def differences(expected: Mapping[str, Facts], there: Mapping[str, Facts]) -> list[str]:
    """One line for each path of which both do not say the same."""
    paths = sorted(expected.keys() | there.keys())
    return [f"{p}: {expected.get(p)}, unpacked {there.get(p)}" for p in paths if expected.get(p) != there.get(p)]
