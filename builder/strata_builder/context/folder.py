"""A directory as a build context: read through directory descriptors, never through a link."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import descriptors, listing, remembered, stable, tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Entry, Kind, Readable

#: A fifo that took a file's place must not make the open wait for a writer.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What describes this machine rather than the file; a label of SELinux would make equal contexts differ.
_FOREIGN_XATTRS: Final = ("security.selinux", "security.ima", "security.evm", "system.", "trusted.", "user.overlay.")


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
        self._listings: dict[bytes, listing.Listing] = {}
        self._kept: dict[bytes, bool] = {}
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
        folder, at = self._place(path)
        return folder.entry(at, path) if at is not None and self._is_kept(path, folder.kind(at)) else None

    def children(self, path: bytes) -> Sequence[bytes]:
        if self._ignore is None:
            return self._listing(path).names
        return [name for name, _, _ in self.entries(path)]

    def entries(self, path: bytes) -> Sequence[tree.Found]:
        found = self._listing(path).entries(path)
        return found if self._ignore is None else [one for one in found if self._is_kept(one[1].path, one[1].kind)]

    def open(self, path: bytes) -> Readable:
        folder, at = self._file(path)
        stamp = folder.stamp(at)
        descriptor = self._descriptor(path, folder.names[at])
        if stable.size(stamp) <= stable.SMALL:
            return io.BytesIO(stable.whole(descriptor, stamp, path))
        return stable.opened(descriptor, stamp, path)

    def digest(self, path: bytes) -> str:
        folder, at = self._file(path)
        found = folder.digest(at)
        if found is None:
            found = self._hashed(path, folder, at) if self._known is None else self._looked_up(path, folder, at)
            folder.set_digest(at, found)
        return found

    def identity(self, path: bytes) -> object:
        folder, at = self._place(path)
        return None if at is None else folder.identity(at)

    # files

    def _file(self, path: bytes) -> tuple[listing.Listing, int]:
        above, _, name = path.rpartition(b"/")
        folder = self._listings.get(above) or self._listing(above)
        at = folder.find(name)
        if at is None or folder.kind(at) is not Kind.FILE:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
        return folder, at

    def _descriptor(self, path: bytes, name: bytes) -> int:
        try:
            return self._folders.open(path.rpartition(b"/")[0], name, _FILE_FLAGS)
        except OSError as e:
            raise _unreadable(path, e) from e

    def _hashed(self, path: bytes, folder: listing.Listing, at: int) -> str:
        return stable.sha256(self._descriptor(path, folder.names[at]), folder.stamp(at), path)

    def _looked_up(self, path: bytes, folder: listing.Listing, at: int) -> str:
        assert self._known is not None
        stamp = folder.stamp(at)
        found = self._known.find(stamp)
        if found is None:
            began = self._known.now()
            found = self._hashed(path, folder, at)
            self._known.add(stamp, found, began)
        return found

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
            for _, entry, _ in self._listing(folder).entries(folder):
                if not self._ignore.excludes(_text(entry.path), entry.kind == Kind.DIR):
                    return True
                if entry.kind == Kind.DIR:
                    waiting.append(entry.path)
        return False

    # the file system

    def _place(self, path: bytes) -> tuple[listing.Listing, int | None]:
        folder, _, name = path.rpartition(b"/")
        found = self._listing(folder)
        return found, found.find(name)

    def _listing(self, folder: bytes) -> listing.Listing:
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = self._scan(folder)
        return known

    def _scan(self, folder: bytes) -> listing.Listing:
        try:
            with self._folders.folder(folder) as descriptor:
                return _read_all(descriptor, folder)
        except OSError as e:
            if e.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENOENT, errno.ENAMETOOLONG):
                return self._vanished(folder)
            raise _unreadable(folder, e) from e

    def _vanished(self, folder: bytes) -> listing.Listing:
        """Nothing lies below what is no directory, unless it was one a moment ago."""
        parent, _, name = folder.rpartition(b"/")
        above = self._listings.get(parent)
        at = above.find(name) if above and folder else None
        if not folder or (above and at is not None and above.kind(at) is Kind.DIR):
            raise stable.changed(folder)
        return listing.Listing()


def _read_all(descriptor: int, folder: bytes) -> listing.Listing:
    """What is in a directory. Raises LayerError if a name is gone again."""
    found = listing.Listing()
    for name in sorted(map(os.fsencode, os.listdir(descriptor))):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            kind = listing.kind_of(status)
            if kind is not None:
                found.add(name, status, _more(descriptor, name, kind, status))
        except FileNotFoundError as e:
            raise stable.changed(tree.join(folder, name)) from e
    return found


def _more(parent: int, name: bytes, kind: Kind, status: os.stat_result) -> listing.More | None:
    if kind is Kind.FILE or kind is Kind.DIR:
        xattrs = _xattrs(parent, name)
        return listing.More(xattrs=xattrs) if xattrs else None
    if kind is Kind.SYMLINK:
        return listing.More(link=os.readlink(name, dir_fd=parent))
    return listing.More(device=status.st_rdev) if kind is not Kind.FIFO else None


def _xattrs(parent: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """File capabilities and users' own attributes; a file system or a rule that gives none is no error."""
    place = b"/proc/self/fd/%d/%s" % (parent, name)
    try:
        keys = os.listxattr(place, follow_symlinks=False)
        if not keys:
            return ()
        keys = [key for key in sorted(keys) if not key.startswith(_FOREIGN_XATTRS)]
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
