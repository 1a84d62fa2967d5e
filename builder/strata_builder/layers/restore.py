"""Entries become files below a root: the writing half of unpacking, which never leaves the root (see `folders`).

Directories get owner, mode, attributes and time last: what is written into them needs no right and leaves no trace.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from strata_builder.entries import Entry, Kind
from strata_builder.frozen import frozen
from strata_builder.layers import folders, index, paths, recorded
from strata_builder.layers.content import Contents, Copied, digest_of, write_all
from strata_builder.layers.ownership import OwnerPolicy, Ownership, mode_of

OnEntry = Callable[[Entry, os.stat_result], None]

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_BUFFER: Final = 1 << 20
_HOLE: Final = 4096
_ZEROS: Final = bytes(_BUFFER)
_TYPES: Final = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


@frozen
class Options:
    """How a layer is written; see `unpack.unpack_to`."""

    overlay: bool = False
    owner: OwnerPolicy = OwnerPolicy.STRICT
    opaque_xattr: str = "user.overlay.opaque"
    copy_links: bool = False
    lower: Callable[[bytes], Entry | None] | None = None
    skip: Callable[[bytes], bool] = lambda _: False
    on_entry: OnEntry | None = None
    hashes: bool = True
    covered: Collection[bytes] = ()


class Restorer:
    """Writes one layer: `entry` for each in the order of the tar, then `finish` with the layer's index."""

    def __init__(self, root: Path, built: index.Builder, options: Options, skipped: list[recorded.Skipped]) -> None:
        self._folders = folders.Folders(root)
        self._built = built
        self._options = options
        self._ownership = Ownership(options.owner, skipped)
        self._implied: dict[bytes, Entry | None] = {}
        self._budget = index.Folders()
        self._times: dict[bytes, int] = {}
        self._told: set[bytes] = set()
        self._born = _Born()

    def close(self) -> None:
        self._folders.close()

    def entry(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        """Writes `entry`; of a FILE the sha256 of its content, and its text where an index keeps it. Both are empty
        where it is not to be hashed."""
        if entry.path in self._options.covered:
            return self._covered(entry, content)
        skipped = self._options.skip(entry.path)
        if entry.kind is Kind.FILE:
            return digest_of(entry, content.pieces()) if skipped else self._file(entry, content)
        if not skipped:
            self._special(entry)
        return "", None

    def _covered(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        """The directory that holds it is made all the same, if it can be seen: an overlay would show a deletion above it
        as a device in a directory that no lower layer has."""
        if paths.split(entry.path)[0] not in self._options.covered:
            self._parent(entry.path)
        hashed = entry.kind is Kind.FILE and self._options.hashes
        return digest_of(entry, content.pieces()) if hashed else ("", None)

    def _special(self, entry: Entry) -> None:
        if entry.kind is Kind.DIR:
            self._told.add(entry.path)
            self._directory(entry.path)
        elif entry.kind is Kind.SYMLINK:
            self._make(entry.path, lambda name, fd: os.symlink(entry.link, name, dir_fd=fd))
            self._finish_link(entry)
        elif entry.kind is Kind.HARDLINK:
            self._hard_link(entry)
        else:
            self._node(entry)

    # -- where things go

    def _parent(self, path: bytes) -> int:
        """A descriptor of the directory that holds `path`, made if need be."""
        parent = path.rpartition(b"/")[0]
        try:
            fd = self._folders.fd(parent)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            for folder in (*paths.parents(parent), parent):
                self._imply(folder, path)
            fd = self._folders.fd(parent)
        if parent not in self._times and parent not in self._built:
            self._times[parent] = os.fstat(fd).st_mtime_ns
        return fd

    def _imply(self, folder: bytes, path: bytes) -> None:
        """A directory above `path` that the layer has not spoken of (yet): as in the lower layers, or 0755 root."""
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self._folders.stat(folder).st_mode):
                return
            known = self._built.lookup(folder)
            if known is not None:
                raise index.below_no_directory(path, folder, known.kind)
        self._budget.add(folder)
        self._directory(folder)
        self._implied[folder] = self._options.lower(folder) if self._options.lower else None
        self._times.pop(folder, None)

    def _make(self, path: bytes, make: Callable[[bytes, int], None]) -> None:
        """Calls `make(name, descriptor of the parent)`, having removed what stands there."""
        fd = self._parent(path)
        name = paths.split(path)[1]
        try:
            make(name, fd)
        except FileExistsError:
            self._folders.remove(path, self._options.skip)
            make(name, self._parent(path))

    def _directory(self, path: bytes) -> None:
        if not path:
            return
        self._parent(path)
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self._folders.stat(path).st_mode):
                return
        self._make(path, lambda name, fd: os.mkdir(name, 0o700, dir_fd=fd))

    # -- each kind

    def _file(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        fd = self._create(entry)
        try:
            written = self._content(entry, content, fd)
            if not self._is_born_so(entry, fd):
                self._ownership.owner_and_mode(entry, fd)
            self._ownership.attributes(entry, fd)
            os.utime(fd, ns=_times(entry))
            if self._options.on_entry is not None:
                self._options.on_entry(entry._replace(digest=written[0]), os.fstat(fd))
        finally:
            os.close(fd)
        return written

    def _create(self, entry: Entry) -> int:
        created: list[int] = []
        mode = entry.mode & 0o777
        self._make(entry.path, lambda name, fd: created.append(os.open(name, _CREATE, mode, dir_fd=fd)))
        return created[0]

    def _is_born_so(self, entry: Entry, fd: int) -> bool:
        """Whether the kernel has made the new file with the owner and mode that it is to have.

        That depends on the directory (its set-group-id bit, its default ACL), the process (its umask), and the mode: it
        is looked at once for each of them.
        """
        wanted = entry.mode, entry.uid, entry.gid
        known = self._born.of(entry.path.rpartition(b"/")[0])
        if wanted not in known:
            found = os.fstat(fd)
            owned = self._options.owner is OwnerPolicy.IGNORE or (found.st_uid, found.st_gid) == wanted[1:]
            known[wanted] = owned and stat.S_IMODE(found.st_mode) == entry.mode
        return known[wanted]

    def _content(self, entry: Entry, content: Contents, fd: int) -> tuple[str, bytes | None]:
        whole = content.whole()
        if whole is not None and len(whole) < _HOLE:
            write_all(fd, whole)
            if not self._options.hashes:
                return "", None
            return hashlib.sha256(whole).hexdigest(), bytes(whole) if index.keeps_text(entry) else None
        return self._pieces(entry, content.pieces() if whole is None else (whole,), fd)

    def _pieces(self, entry: Entry, pieces: Iterable[memoryview], fd: int) -> tuple[str, bytes | None]:
        hole = False

        def write(piece: memoryview) -> None:
            nonlocal hole
            hole = len(piece) >= _HOLE and piece[0] == 0 and piece.tobytes() == _ZEROS[: len(piece)]
            if hole:
                os.lseek(fd, len(piece), os.SEEK_CUR)
            else:
                write_all(fd, piece)

        found: tuple[str, bytes | None] = "", None
        if self._options.hashes:
            found = digest_of(entry, pieces, write)
        else:
            for piece in pieces:
                write(piece)
        if hole:
            os.ftruncate(fd, entry.size)
        return found

    def _hard_link(self, entry: Entry) -> None:
        target = self._built.lookup(entry.link)
        if target is None:
            raise LookupError(f"{entry.link!r} was not checked by Builder.add")
        if self._options.copy_links and target.kind in (Kind.FILE, Kind.HARDLINK):
            with self._folders.open(entry.link) as content:
                self._file(target._replace(path=entry.path, kind=Kind.FILE, link=b""), Copied(content))
            return
        parent, name = paths.split(entry.link)
        source = os.dup(self._folders.fd(parent))
        try:
            self._make(
                entry.path,
                lambda new, fd: os.link(name, new, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False),
            )
        finally:
            os.close(source)
        self._tell(target._replace(path=entry.path), self._folders.stat(entry.path))

    def _node(self, entry: Entry) -> None:
        device = os.makedev(entry.major, entry.minor)
        try:
            self._make(entry.path, lambda name, fd: os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=fd))
        except PermissionError as error:
            self._ownership.refuse(entry.path, recorded.DEVICE, error)
            return
        self._finish_node(entry)

    # -- metadata

    def _finish_link(self, entry: Entry) -> None:
        parent, name = paths.split(entry.path)
        fd = self._folders.fd(parent)
        self._ownership.owner(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False))
        self._named_attributes(entry)
        os.utime(name, ns=_times(entry), dir_fd=self._folders.fd(parent), follow_symlinks=False)
        self._tell(entry, self._folders.stat(entry.path))

    def _finish_node(self, entry: Entry) -> None:
        parent, name = paths.split(entry.path)
        fd = self._folders.fd(parent)
        owned = self._ownership.owner(
            entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        )
        os.chmod(name, mode_of(entry, owned), dir_fd=fd)
        self._named_attributes(entry)
        os.utime(name, ns=_times(entry), dir_fd=self._folders.fd(parent), follow_symlinks=False)
        self._tell(entry, self._folders.stat(entry.path))

    def _named_attributes(self, entry: Entry) -> None:
        for name, value in entry.xattrs:
            handle = self._folders.handle(entry.path)
            change = functools.partial(os.setxattr, handle, name, value, follow_symlinks=False)
            self._ownership.attribute(entry.path, name, change)

    def _tell(self, entry: Entry, found: os.stat_result) -> None:
        if self._options.on_entry is not None:
            self._options.on_entry(entry, found)

    # -- the end: what the layer hides, then the directories from the deepest up

    def finish(self, contents: index.Index) -> None:
        for path in contents.whiteouts:
            self._hide(path, contents)
        for folder in contents.opaque:
            self._hide_below(folder, contents)
        unspoken = (path for path in {*self._implied, *self._times} if path not in contents)
        for path in sorted(unspoken, key=paths.order, reverse=True):
            self._settle_unspoken(path, hidden=contents.hides(path))
        for path in sorted(self._told, key=paths.order, reverse=True):
            entry = contents.lookup(path)
            if entry is not None and entry.kind is Kind.DIR and not self._options.skip(path):
                self._settle(entry)

    def _hide(self, path: bytes, contents: index.Index) -> None:
        known = contents.lookup(path)
        if self._options.lower is not None and self._options.lower(path) is None:
            return  # in a directory that no lower layer has, an overlay would show the device
        if not self._options.overlay:
            self._remember_time(paths.split(path)[0])
            self._folders.remove(path, lambda inside: self._stays(inside, contents))
        elif known is None and not contents.has_below(path):
            self._make(path, lambda name, fd: os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=fd))
        elif known is None or known.kind is Kind.DIR:
            self._mark_opaque(path)

    def _hide_below(self, folder: bytes, contents: index.Index) -> None:
        if self._options.lower is not None and self._options.lower(folder) is None:
            return
        if self._options.overlay:
            self._directory_for_mark(folder)
            self._mark_opaque(folder)
            return
        self._remember_time(folder)
        with suppress(FileNotFoundError, NotADirectoryError):
            for name, _ in self._folders.names(folder):
                self._folders.remove(paths.join(folder, name), lambda inside: self._stays(inside, contents))

    def _stays(self, path: bytes, contents: index.Index) -> bool:
        return path in contents or self._options.skip(path) or contents.has_below(path)

    def _remember_time(self, folder: bytes) -> None:
        with suppress(OSError):
            self._times.setdefault(folder, self._folders.stat(folder).st_mtime_ns)

    def _directory_for_mark(self, folder: bytes) -> None:
        for above in (*paths.parents(folder), *([folder] if folder else [])):
            self._imply(above, folder)

    def _mark_opaque(self, folder: bytes) -> None:
        os.setxattr(self._folders.fd(folder), self._options.opaque_xattr, b"y")

    def _settle_unspoken(self, path: bytes, *, hidden: bool) -> None:
        """Directories that the layer does not hold: the lower layers' metadata if made here, else their old time.

        One that is there only because the layer put something into it after having it `hidden` is new.
        """
        lower = self._implied.get(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            if not hidden and path not in self._implied:
                os.utime(self._folders.fd(path), ns=(self._times[path], self._times[path]))
            elif not hidden and lower is not None and lower.kind is Kind.DIR:
                self._settle(lower)
            else:
                self._settle(Entry(path=path, kind=Kind.DIR, mode=0o755))

    def _settle(self, entry: Entry) -> None:
        fd = self._folders.fd(entry.path)
        self._drop_attributes(entry, fd)
        self._ownership.owner_and_mode(entry, fd)
        self._ownership.attributes(entry, fd)
        os.utime(fd, ns=_times(entry))
        self._tell(entry, os.fstat(fd))

    def _drop_attributes(self, entry: Entry, fd: int) -> None:
        """Those that a lower layer gave the directory: a layer's word on a directory is all of it."""
        if self._options.overlay:
            return
        for name in set(map(os.fsencode, _attributes_of(fd))) - {key for key, _ in entry.xattrs}:
            if not paths.is_foreign_xattr(name):
                self._ownership.attribute(entry.path, name, functools.partial(os.removexattr, fd, name))


class _Born:
    """Of the directory in which files are being made: whether those with this mode and owner come out so by themselves."""

    def __init__(self) -> None:
        self._folder: bytes | None = None
        self._known: dict[tuple[int, int, int], bool] = {}

    def of(self, folder: bytes) -> dict[tuple[int, int, int], bool]:
        if folder != self._folder:
            self._folder, self._known = folder, {}
        return self._known


def _attributes_of(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def _times(entry: Entry) -> tuple[int, int]:
    return entry.mtime * 10**9, entry.mtime * 10**9
