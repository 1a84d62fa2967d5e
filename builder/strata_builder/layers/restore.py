"""Entries become files below a root: the writing half of unpacking, which never leaves the root (see `folders`).

Directories get owner, mode, attributes and time last (see `settle`): what is written into them needs no right and leaves no
trace.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Collection, Iterable
from typing import Final

from strata_builder import contents
from strata_builder.entries import Entry, Kind
from strata_builder.frozen import frozen
from strata_builder.layers import index, paths, recorded
from strata_builder.layers.content import Contents, Copied, digest_of, write_all
from strata_builder.layers.ownership import OwnerPolicy, Ownership, mode_of
from strata_builder.layers.places import Places

OnEntry = Callable[[Entry, os.stat_result], None]

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUFFER: Final = 1 << 20
_HOLE: Final = 4096
_ZEROS: Final = bytes(_BUFFER)
_TYPES: Final = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


def nothing(path: bytes) -> bool:  # noqa: ARG001
    """The usual `skip`, which need not be asked."""
    return False


@frozen
class Options:
    """How a layer is written; see `unpack.unpack_to`."""

    overlay: bool = False
    owner: OwnerPolicy = OwnerPolicy.STRICT
    opaque_xattr: str = "user.overlay.opaque"
    copy_links: bool = False
    lower: Callable[[bytes], Entry | None] | None = None
    skip: Callable[[bytes], bool] = nothing
    on_entry: OnEntry | None = None
    hashes: bool = True
    covered: Collection[bytes] = ()


class Restorer:
    """Writes one layer into `places`: `entry` for each in the order of the tar; `settle` does the rest."""

    def __init__(self, places: Places, built: index.Builder, options: Options, ownership: Ownership) -> None:
        self._places, self._folders = places, places.folders
        self._built, self._options, self._ownership = built, options, ownership
        self._born = _Born()

    def entry(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        """Writes `entry`; of a FILE the digest of its content, and its text where an index keeps it. Both are empty
        where it is not to be hashed."""
        if entry.path in self._options.covered:
            return self._covered(entry, content)
        skipped = self._options.skip is not nothing and self._options.skip(entry.path)
        if entry.kind is Kind.FILE:
            return digest_of(entry, content.pieces()) if skipped else self._file(entry, content)
        if not skipped:
            self._special(entry)
        return "", None

    def _covered(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        """The directory that holds it is made all the same, if it can be seen: an overlay would show a deletion above it
        as a device in a directory that no lower layer has."""
        if paths.split(entry.path)[0] not in self._options.covered:
            self._places.parent(entry.path)
        hashed = entry.kind is Kind.FILE and self._options.hashes
        return digest_of(entry, content.pieces()) if hashed else ("", None)

    def _special(self, entry: Entry) -> None:
        if entry.kind is Kind.DIR:
            self._places.directory(entry.path)
        elif entry.kind is Kind.SYMLINK:
            self._places.make(entry.path, lambda name, fd: os.symlink(entry.link, name, dir_fd=fd))
            self._finish_link(entry)
        elif entry.kind is Kind.HARDLINK:
            self._hard_link(entry)
        else:
            self._node(entry)

    # -- each kind

    def _file(self, entry: Entry, content: Contents) -> tuple[str, bytes | None]:
        fd = self._places.create(entry.path, _CREATE, entry.mode & 0o777)
        try:
            written = self._content(entry, content, fd)
            if not self._is_born_so(entry, fd):
                self._ownership.owner_and_mode(entry, fd)
            if entry.xattrs:
                self._ownership.attributes(entry, fd)
            os.utime(fd, ns=times_of(entry))
            if self._options.on_entry is not None:
                self._options.on_entry(entry._replace(digest=written[0]), os.fstat(fd))
        finally:
            os.close(fd)
        return written

    def _is_born_so(self, entry: Entry, fd: int) -> bool:
        """Whether the kernel has made the new file with the owner and mode that it is to have.

        That depends on the directory (its set-group-id bit, its default ACL), the process (its umask), and the mode: it
        is looked at once for each of them.
        """
        wanted = entry.mode, entry.uid, entry.gid
        known = self._born.of(entry.path.rpartition(b"/")[0])
        born_so = known.get(wanted)
        if born_so is None:
            found = os.fstat(fd)
            owned = self._options.owner is OwnerPolicy.IGNORE or (found.st_uid, found.st_gid) == wanted[1:]
            born_so = known[wanted] = owned and stat.S_IMODE(found.st_mode) == entry.mode
        return born_so

    def _content(self, entry: Entry, content: Contents, fd: int) -> tuple[str, bytes | None]:
        whole = content.whole()
        if whole is not None and len(whole) < _HOLE:
            write_all(fd, whole)
            if not self._options.hashes:
                return "", None
            return contents.digest(whole), bytes(whole) if index.keeps_text(entry) else None
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
            self._places.make(
                entry.path,
                lambda new, fd: os.link(name, new, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False),
            )
        finally:
            os.close(source)
        self._tell(target._replace(path=entry.path), self._folders.stat(entry.path))

    def _node(self, entry: Entry) -> None:
        device = os.makedev(entry.major, entry.minor)
        try:
            self._places.make(
                entry.path, lambda name, fd: os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=fd)
            )
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
        os.utime(name, ns=times_of(entry), dir_fd=self._folders.fd(parent), follow_symlinks=False)
        self._tell(entry, self._folders.stat(entry.path))

    def _finish_node(self, entry: Entry) -> None:
        parent, name = paths.split(entry.path)
        fd = self._folders.fd(parent)
        owned = self._ownership.owner(
            entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        )
        os.chmod(name, mode_of(entry, owned), dir_fd=fd)
        self._named_attributes(entry)
        os.utime(name, ns=times_of(entry), dir_fd=self._folders.fd(parent), follow_symlinks=False)
        self._tell(entry, self._folders.stat(entry.path))

    def _named_attributes(self, entry: Entry) -> None:
        for name, value in entry.xattrs:
            handle = self._folders.handle(entry.path)
            change = functools.partial(os.setxattr, handle, name, value, follow_symlinks=False)
            self._ownership.attribute(entry.path, name, change)

    def _tell(self, entry: Entry, found: os.stat_result) -> None:
        if self._options.on_entry is not None:
            self._options.on_entry(entry, found)


class _Born:
    """Of the directory in which files are being made: whether those with this mode and owner come out so by themselves."""

    def __init__(self) -> None:
        self._folder: bytes | None = None
        self._known: dict[tuple[int, int, int], bool] = {}

    def of(self, folder: bytes) -> dict[tuple[int, int, int], bool]:
        if folder != self._folder:
            self._folder, self._known = folder, {}
        return self._known


def times_of(entry: Entry) -> tuple[int, int]:
    return entry.mtime * 10**9, entry.mtime * 10**9
