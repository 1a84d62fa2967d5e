"""A directory as a build context: read through directory descriptors, never through a link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from strata_builder import errors
from strata_builder.context import descriptors, remembered, stable, tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Entry, Kind

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
#: A fifo that took a file's place must not make the open wait for a writer.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What describes this machine rather than the file; a label of SELinux would make equal contexts differ.
_FOREIGN_XATTRS: Final = ("security.selinux", "security.ima", "security.evm", "system.", "trusted.", "user.overlay.")


class _Node(NamedTuple):
    """`inode` (device, number) is known of a file that has more names than this one."""

    entry: Entry
    stamp: stable.Stamp
    inode: tuple[int, int] | None = None


class FolderTree:
    """The directory `root` without what `ignore` excludes; sockets are left out.

    A directory is read once, when something in it is first asked for, and kept as it was then. An excluded directory
    exists only if something below it is taken back by a `!` pattern; where that cannot be, it is not read at all.
    """

    def __init__(self, root: Path, ignore: IgnoreRules | None = None, known: remembered.Digests | None = None) -> None:
        self._root = root
        self._ignore = ignore
        self._known = known
        self._folders = descriptors.Descriptors(root)
        self._nodes: dict[bytes, dict[bytes, _Node]] = {}
        self._kept: dict[bytes, bool] = {}
        self._digests: dict[bytes, str] = {}
        self._top = self._read_root()

    def _read_root(self) -> Entry:
        try:
            status = os.stat(self._root)
        except OSError as e:
            raise errors.SourceNotFound(f"cannot read the context {self._root}: {e.strerror}") from e
        if not stat.S_ISDIR(status.st_mode):
            raise errors.SourceNotFound(f"the context {self._root} is not a directory")
        return Entry(b"", Kind.DIR, stat.S_IMODE(status.st_mode), mtime=int(status.st_mtime))

    # the Tree

    def lookup(self, path: bytes) -> Entry | None:
        if not path:
            return self._top
        node = self._node(path)
        return node.entry if node and self._is_kept(path, node.entry.kind) else None

    def children(self, path: bytes) -> Sequence[bytes]:
        nodes = self._listing(path)
        return [name for name, node in nodes.items() if self._is_kept(tree.join(path, name), node.entry.kind)]

    def open(self, path: bytes) -> stable.StableFile:
        file = self._open(path)
        try:
            file.check()
        except BaseException:
            file.close()
            raise
        return file

    def _open(self, path: bytes) -> stable.StableFile:
        folder, _, name = path.rpartition(b"/")
        node = self._listing(folder).get(name)
        if node is None or node.entry.kind is not Kind.FILE:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
        try:
            descriptor = self._folders.open(folder, name, _FILE_FLAGS)
        except OSError as e:
            raise _unreadable(path, e) from e
        return stable.StableFile(descriptor, node.stamp, path)

    def digest(self, path: bytes) -> str:
        found = self._digests.get(path)
        if found is None:
            found = self._hashed(path) if self._known is None else self._looked_up(path, self._known)
            self._digests[path] = found
        return found

    def _hashed(self, path: bytes) -> str:
        with self._open(path) as file:
            return file.sha256()

    def _looked_up(self, path: bytes, known: remembered.Digests) -> str:
        node = self._node(path)
        found = known.find(node.stamp) if node and node.entry.kind == Kind.FILE else None
        if found is None:
            began = known.now()
            found = self._hashed(path)
            assert node is not None
            known.add(node.stamp, found, began)
        return found

    def identity(self, path: bytes) -> object:
        node = self._node(path)
        return node.inode if node else None

    # what is ignored

    def _is_kept(self, path: bytes, kind: Kind) -> bool:
        if self._ignore is None or not self._ignore.excludes(_text(path), kind == Kind.DIR):
            return True
        return kind == Kind.DIR and self._has_kept_below(path)

    def _has_kept_below(self, path: bytes) -> bool:
        """Whether a `!` pattern takes back anything below an excluded directory."""
        if path not in self._kept:
            self._kept[path] = self._search(path)
        return self._kept[path]

    def _search(self, top: bytes) -> bool:
        assert self._ignore is not None
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if not self._ignore.may_contain(_text(folder)):
                continue
            for name, node in self._listing(folder).items():
                path, is_dir = tree.join(folder, name), node.entry.kind == Kind.DIR
                if not self._ignore.excludes(_text(path), is_dir):
                    return True
                if is_dir:
                    waiting.append(path)
        return False

    # the file system

    def _node(self, path: bytes) -> _Node | None:
        folder, _, name = path.rpartition(b"/")
        return self._listing(folder).get(name)

    def _listing(self, folder: bytes) -> dict[bytes, _Node]:
        known = self._nodes.get(folder)
        if known is None:
            known = self._nodes[folder] = self._scan(folder)
        return known

    def _scan(self, folder: bytes) -> dict[bytes, _Node]:
        try:
            with self._folders.folder(folder) as descriptor:
                return _read_all(descriptor, folder)
        except OSError as e:
            if e.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENOENT, errno.ENAMETOOLONG):
                return self._vanished(folder)
            raise _unreadable(folder, e) from e

    def _vanished(self, folder: bytes) -> dict[bytes, _Node]:
        """Nothing lies below what is no directory, unless it was one a moment ago."""
        parent, _, name = folder.rpartition(b"/")
        node = self._nodes.get(parent, {}).get(name)
        if not folder or (node and node.entry.kind == Kind.DIR):
            raise stable.changed(folder)
        return {}


def _read_all(descriptor: int, folder: bytes) -> dict[bytes, _Node]:
    """What is in a directory, by name."""
    nodes = ((name, _read(descriptor, name, tree.join(folder, name))) for name in sorted(_names(descriptor)))
    return {name: node for name, node in nodes if node is not None}


def _names(descriptor: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(descriptor)]


def _read(parent: int, name: bytes, path: bytes) -> _Node | None:
    """What lstat tells of one name; None for a socket. Raises LayerError if the name is gone again."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        link = os.readlink(name, dir_fd=parent) if kind == Kind.SYMLINK else b""
    except FileNotFoundError as e:
        raise stable.changed(path) from e
    entry = Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        mtime=int(status.st_mtime_ns // 1_000_000_000),
        size=status.st_size if kind == Kind.FILE else 0,
        link=link,
        major=os.major(status.st_rdev) if kind in (Kind.CHAR, Kind.BLOCK) else 0,
        minor=os.minor(status.st_rdev) if kind in (Kind.CHAR, Kind.BLOCK) else 0,
        xattrs=_xattrs(parent, name) if kind in (Kind.FILE, Kind.DIR) else (),
    )
    inode = (status.st_dev, status.st_ino) if kind == Kind.FILE and status.st_nlink > 1 else None
    return _Node(entry, stable.Stamp.of(status), inode)


def _xattrs(parent: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """File capabilities and users' own attributes; a file system or a rule that gives none is no error."""
    place = b"/proc/self/fd/%d/%s" % (parent, name)
    try:
        keys = [
            key for key in sorted(os.listxattr(place, follow_symlinks=False)) if not key.startswith(_FOREIGN_XATTRS)
        ]
        return tuple((os.fsencode(key), os.getxattr(place, key, follow_symlinks=False)) for key in keys)
    except OSError as e:
        if e.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA, errno.ENOENT):
            return ()
        raise


def _unreadable(path: bytes, error: OSError) -> errors.LayerError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return stable.changed(path)
    what = f"{tree.show(path)} of the context" if path else "the context"
    return errors.LayerError(
        f"cannot read {what}: {error.strerror}",
        hint="give the building user read permission, or keep it out of the context with .dockerignore",
    )


def _text(path: bytes) -> str:
    """As the patterns of an ignore file are decoded."""
    return path.decode("utf-8", "surrogateescape")
