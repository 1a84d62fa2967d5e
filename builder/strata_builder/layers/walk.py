"""Directory trees as entries, read safely: no link is followed, no access time is left behind.

Content is not read here: a FILE's `digest` is empty.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from strata_builder import errors
from strata_builder.entries import KINDS, Entry, Kind, Readable
from strata_builder.layers import folders, paths


def walk(root: Path, *, prune: Callable[[bytes], bool] = lambda _: False) -> Iterator[Entry]:
    """Every path below `root` but the root itself and sockets: parents first, names of a directory sorted.

    `prune` is asked with each path; where it is true, neither the path nor anything below it is given. Two paths of one
    inode are two FILEs. Raises LayerError naming a directory that may not be read, or a path too long for a layer.
    """
    with folders.Folders(root) as tree:
        todo = [b""]
        while todo:
            path = todo.pop()
            if path:
                entry = entry_of(tree, path, tree.stat(path))
                if entry is None:
                    continue
                yield entry
                if entry.kind is not Kind.DIR:
                    continue
            inside = (paths.join(path, name) for name, _ in names(tree, path))
            todo += sorted((child for child in inside if not prune(child)), reverse=True)


def open_at(root_fd: int, path: bytes) -> Readable:
    """The content of the regular file `path` below the directory `root_fd`, raw.

    A symbolic link anywhere on the way is an error, never followed. Raises OSError or LayerError."""
    with folders.Folders(Path(f"/proc/self/fd/{root_fd}")) as tree:
        return tree.open(path)


def names(tree: folders.Folders, folder: bytes) -> list[tuple[bytes, bool]]:
    """(name, whether it is a directory), sorted. Raises LayerError where the directory may not be read."""
    try:
        found = tree.names(folder)
    except PermissionError as error:
        raise errors.LayerError(
            f"the directory {paths.show(folder)} cannot be read: {error.strerror}",
            hint="make it readable, or exclude it in .dockerignore",
        ) from error
    for name, _ in found:
        if len(folder) + 1 + len(name) > paths.MAX_PATH:
            raise errors.LayerError(
                f"the path {paths.show(paths.join(folder, name))} is longer than the {paths.MAX_PATH} bytes of Linux"
            )
    return found


def entry_of(
    tree: folders.Folders, path: bytes, found: os.stat_result, held: Iterable[bytes] | None = None
) -> Entry | None:
    """`path` as an entry; None for a socket, which has no place in a layer. `held` are the names of its attributes where
    the caller has asked for them."""
    kind = KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    device = found.st_rdev if kind in (Kind.CHAR, Kind.BLOCK) else 0
    return Entry(
        path,
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        int(found.st_mtime_ns // 10**9),
        found.st_size if kind is Kind.FILE else 0,
        _link_text(tree, path) if kind is Kind.SYMLINK else b"",
        os.major(device),
        os.minor(device),
        attributes(tree, path, tree.attributes(path) if held is None else held),
    )


def _link_text(tree: folders.Folders, path: bytes) -> bytes:
    parent, name = paths.split(path)
    return os.readlink(name, dir_fd=tree.fd(parent))


def attributes(tree: folders.Folders, path: bytes, held: Iterable[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Those of the extended attributes `held` that belong into a layer, sorted by name."""
    wanted = sorted(key for key in held if not paths.is_foreign_xattr(key))
    return tuple([(key, os.getxattr(tree.handle(path), key, follow_symlinks=False)) for key in wanted])
