"""Small layers for tests: items made of literals, a merged view of indexes, and a directory as comparable values."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import index, pack, paths, unpack


def folder(path: str, mode: int = 0o755, **fields: Any) -> Item:
    return Item(Entry(path.encode(), Kind.DIR, mode, **fields))


def file(path: str | bytes, content: bytes = b"", mode: int = 0o644, **fields: Any) -> Item:
    name = path if isinstance(path, bytes) else path.encode()
    return Item(Entry(name, Kind.FILE, mode, size=len(content), **fields), lambda: io.BytesIO(content))


def link(path: str, text: str, **fields: Any) -> Item:
    return Item(Entry(path.encode(), Kind.SYMLINK, 0o777, link=text.encode(), **fields))


def hard(path: str, target: str, **fields: Any) -> Item:
    return Item(Entry(path.encode(), Kind.HARDLINK, 0o644, link=target.encode(), **fields))


def packed(where: Path, items: Iterable[Item], whiteouts: Iterable[bytes] = (), **options: Any) -> pack.PackedLayer:
    layer = pack.pack(items, whiteouts, blob=where, **options)
    assert layer is not None
    return layer


def unpacked(layer: pack.PackedLayer, root: Path, **options: Any) -> index.Index:
    options = {"overlay": False, "owner": unpack.OwnerPolicy.IGNORE, **options}
    root.mkdir(exist_ok=True)
    with layer.blob.open("rb") as stream:
        return unpack.unpack_to(stream, layer.media_type, root, diff_id=layer.diff_id, **options)


class Merged:
    """Layers on top of each other as a mapping: the plainest possible merged view."""

    def __init__(self, *layers: index.Index) -> None:
        self.entries: dict[bytes, Entry] = {}
        for layer in layers:
            self.push(layer)

    def push(self, layer: index.Index) -> None:
        for gone in (*layer.whiteouts, *layer.opaque):
            self._drop_below(gone)
        for gone in layer.whiteouts:
            self.entries.pop(gone, None)
        for path in layer.paths():
            entry = layer.shown(path)
            assert entry is not None
            if entry.kind is not Kind.DIR:
                self._drop_below(path)
            self.entries[path] = entry
            for parent in paths.parents(path):
                known = self.entries.get(parent)
                if known is None or known.kind is not Kind.DIR:
                    self.entries[parent] = Entry(parent, Kind.DIR, 0o755)

    def _drop_below(self, folder: bytes) -> None:
        self.entries = {path: entry for path, entry in self.entries.items() if not paths.is_below(path, folder)}

    def lookup(self, path: bytes) -> Entry | None:
        return self.entries.get(path)

    def children(self, path: bytes) -> list[bytes]:
        return sorted(paths.split(other)[1] for other in self.entries if other and paths.split(other)[0] == path)


def tree_of(root: Path, *, owners: bool = False, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Everything that a layer can say about the files below `root`, by path; hard links by the names they share."""
    found: dict[str, tuple[Any, ...]] = {}
    inodes: dict[int, list[str]] = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            full = Path(place, name)
            path = str(full.relative_to(root))
            info = full.lstat()
            found[path] = (*_of(full, info), (info.st_uid, info.st_gid) if owners else (), _time(info) if times else 0)
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                inodes.setdefault(info.st_ino, []).append(path)
    return found | {f"links of {min(names)}": tuple(sorted(names)) for names in inodes.values()}


def _time(info: os.stat_result) -> int:
    return 0 if stat.S_ISDIR(info.st_mode) else info.st_mtime_ns // 10**9


def _of(path: Path, info: os.stat_result) -> tuple[Any, ...]:
    content: Any = ""
    if stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = str(path.readlink())
    elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        content = info.st_rdev
    return (stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), content)
