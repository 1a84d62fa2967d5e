"""A directory as a build context: read through directory descriptors, never through a link."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strata_builder import errors, workers
from strata_builder.context import descriptors, elsewhere, listing, remembered, scan, stable, tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Entry, Kind, Readable

if TYPE_CHECKING:
    from strata_builder.context import together


class FolderTree:
    """The directory `root` without what `ignore` excludes; sockets are left out.

    A directory is read once, when something in it is first asked for, and kept as it was then. An excluded directory
    exists only if something below it is taken back by a `!` pattern; where that cannot be, it is not read at all.
    """

    def __init__(self, root: Path, ignore: IgnoreRules | None = None, known: remembered.Digests | None = None) -> None:
        self.root = root
        self._ignore = ignore
        self._known = known
        self._folders = descriptors.Descriptors(root)
        self._listings: dict[bytes, listing.Listing] = {}
        self._kept: dict[bytes, bool] = {}
        self._ahead: together.Together | None = None
        self._top = self._read_root()

    def _read_root(self) -> Entry:
        try:
            status = os.stat(self.root)
        except OSError as e:
            raise errors.SourceNotFound(f"cannot read the context {self.root}: {e.strerror}") from e
        if not stat.S_ISDIR(status.st_mode):
            raise errors.SourceNotFound(f"the context {self.root} is not a directory")
        self._identity = status.st_dev, status.st_ino
        return Entry(b"", Kind.DIR, stat.S_IMODE(status.st_mode), mtime=int(status.st_mtime))

    # the Tree

    def lookup(self, path: bytes) -> Entry | None:
        if not path:
            return self._top
        folder, at = self._place(path)
        return folder.entry(at, path) if at is not None and self._is_kept(path, folder.kind(at)) else None

    def children(self, path: bytes) -> Sequence[bytes]:
        if self._ignore is None:
            return self.directory(path).names
        return [name for name, _, _ in self.entries(path)]

    def entries(self, path: bytes) -> Sequence[tree.Found]:
        if self._ahead is not None:
            self._ahead.ready(path)
        found = self.directory(path).entries(path)
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
        found = self._known_digest(folder, at)
        if found is None:
            began = self.now()
            found = stable.digest(self._descriptor(path, folder.names[at]), folder.stamp(at), path)
            self._keep(folder, at, bytes.fromhex(found), began)
        return found

    def identity(self, path: bytes) -> object:
        folder, at = self._place(path)
        return None if at is None else folder.identity(at)

    # files

    def _file(self, path: bytes) -> tuple[listing.Listing, int]:
        above, _, name = path.rpartition(b"/")
        folder = self._listings.get(above) or self.directory(above)
        at = folder.find(name)
        if at is None or folder.kind(at) is not Kind.FILE:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
        return folder, at

    def _descriptor(self, path: bytes, name: bytes) -> int:
        try:
            return self._folders.open(path.rpartition(b"/")[0], name, descriptors.FILE)
        except OSError as e:
            raise _unreadable(path, e) from e

    # what `together` does

    @contextlib.contextmanager
    def ahead(self, folder: bytes, helpers: Sequence[workers.Worker]) -> Iterator[None]:
        """Meanwhile `helpers` read and hash what is below `folder`; for who walks all of it, in its order."""
        from strata_builder.context import together

        self._ahead = together.Together(self, folder, helpers)
        try:
            yield
        finally:
            self._ahead = None

    @property
    def identified(self) -> elsewhere.Root:
        return os.fsencode(self.root), *self._identity

    @property
    def is_choosy(self) -> bool:
        """Whether there are files whose content need not be read: some are ignored, or known."""
        return self._ignore is not None or bool(self._known)

    def directory(self, folder: bytes) -> listing.Listing:
        """A directory, which is read where it is not known. Raises LayerError."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = self._scan(folder)
        return known

    def is_read(self, folder: bytes) -> bool:
        return folder in self._listings

    def learn(self, folder: bytes, found: listing.Listing) -> None:
        """What another process has read."""
        self._listings[folder] = found

    def kept(self, folder: bytes, found: listing.Listing) -> Sequence[int]:
        """The positions of what is not ignored."""
        every = range(len(found.names))
        if self._ignore is None:
            return every
        return [at for at in every if self._is_kept(tree.join(folder, found.names[at]), found.kind(at))]

    def unhashed(self, found: listing.Listing, kept: Sequence[int]) -> list[int]:
        """Which of them are regular files whose content has to be read for their digests."""
        return [at for at in kept if found.kind(at) is Kind.FILE and self._known_digest(found, at) is None]

    def hashed(self, found: listing.Listing, files: Sequence[int], digests: bytes, began: int) -> None:
        """The files' digests, one after another; they were read after `began`, a time of `now`."""
        for number, at in enumerate(files):
            digest = digests[number * listing.DIGEST : (number + 1) * listing.DIGEST]
            if digest != listing.UNKNOWN:
                self._keep(found, at, digest, began)

    def hash(self, folder: bytes, found: listing.Listing, files: Sequence[int]) -> None:
        """Reads files of a directory for their digests. Raises LayerError."""
        began = self.now()
        names = [found.names[at] for at in files]
        try:
            with self._folders.folder(folder) as descriptor:
                self.hashed(found, files, elsewhere.files(descriptor, names, found.stamps(files)), began)
        except OSError as e:
            raise _unreadable(folder, e) from e
        for at in files:
            if not found.is_hashed(at):
                self.digest(tree.join(folder, found.names[at]))  # again, to say what is wrong

    def now(self) -> int:
        return self._known.now() if self._known is not None else 0

    # digests

    def _known_digest(self, found: listing.Listing, at: int) -> str | None:
        digest = found.digest(at)
        if digest is None and self._known is not None:
            digest = self._known.find(found.stamp(at))
            if digest is not None:
                found.set_digest(at, bytes.fromhex(digest))
        return digest

    def _keep(self, found: listing.Listing, at: int, digest: bytes, began: int) -> None:
        found.set_digest(at, digest)
        if self._known is not None:
            self._known.add(found.stamp(at), digest, began)

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
            for _, entry, _ in self.directory(folder).entries(folder):
                if not self._ignore.excludes(_text(entry.path), entry.kind == Kind.DIR):
                    return True
                if entry.kind == Kind.DIR:
                    waiting.append(entry.path)
        return False

    # the file system

    def _place(self, path: bytes) -> tuple[listing.Listing, int | None]:
        folder, _, name = path.rpartition(b"/")
        found = self.directory(folder)
        return found, found.find(name)

    def _scan(self, folder: bytes) -> listing.Listing:
        try:
            with self._folders.folder(folder) as descriptor:
                return scan.read(descriptor, folder)
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
