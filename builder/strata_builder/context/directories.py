"""The directories of a context on this machine: each is read once, and kept as it was then; never through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from strata_builder import errors
from strata_builder.context import descriptors, elsewhere, listing, scan, stable, tree
from strata_builder.entries import Entry, Kind


class Directories:
    """Below `root`. Paths are those of `tree`. Raises SourceNotFound where there is no such directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptors = descriptors.Descriptors(root)
        self._listings: dict[bytes, listing.Listing] = {}
        status = _status(root)
        self.top = Entry(b"", Kind.DIR, stat.S_IMODE(status.st_mode), mtime=int(status.st_mtime))
        self.identified: elsewhere.Root = (os.fsencode(root), status.st_dev, status.st_ino)

    def read(self, folder: bytes) -> listing.Listing:
        """What is in a directory, read where it is not known; nothing below what is none. Raises LayerError."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = self._scan(folder)
        return known

    def is_read(self, folder: bytes) -> bool:
        return folder in self._listings

    def learn(self, folder: bytes, found: listing.Listing) -> None:
        """What another process has read."""
        self._listings[folder] = found

    def place(self, path: bytes) -> tuple[listing.Listing, int | None]:
        """A directory's listing, and the position there of what is at `path`."""
        folder, _, name = path.rpartition(b"/")
        found = self._listings.get(folder) or self.read(folder)
        return found, found.find(name)

    def file(self, path: bytes) -> tuple[listing.Listing, int]:
        """As `place`, of a regular file. Raises LayerError if there is none."""
        found, at = self.place(path)
        if at is None or found.kind(at) is not Kind.FILE:
            raise errors.LayerError(f"the context has no file {tree.show(path)}")
        return found, at

    def open(self, path: bytes) -> int:
        """A descriptor of the file at `path`, the caller's to close. Raises LayerError."""
        folder, _, name = path.rpartition(b"/")
        try:
            return self._descriptors.open(folder, name, descriptors.FILE)
        except OSError as e:
            raise _unreadable(path, e) from e

    def hash(self, folder: bytes, found: listing.Listing, files: list[int]) -> bytes:
        """The digests of a directory's files, one after another, listing.UNKNOWN where something is wrong with one.
        Raises LayerError."""
        names = [found.names[at] for at in files]
        try:
            with self._descriptors.folder(folder) as descriptor:
                return elsewhere.files(descriptor, names, found.stamps(files))
        except OSError as e:
            raise _unreadable(folder, e) from e

    def _scan(self, folder: bytes) -> listing.Listing:
        try:
            with self._descriptors.folder(folder) as descriptor:
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


def _status(root: Path) -> os.stat_result:
    try:
        status = os.stat(root)
    except OSError as e:
        raise errors.SourceNotFound(f"cannot read the context {root}: {e.strerror}") from e
    if not stat.S_ISDIR(status.st_mode):
        raise errors.SourceNotFound(f"the context {root} is not a directory")
    return status


def _unreadable(path: bytes, error: OSError) -> errors.LayerError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return stable.changed(path)
    what = f"{tree.show(path)} of the context" if path else "the context"
    return errors.LayerError(
        f"cannot read {what}: {error.strerror}",
        hint="give the building user read permission, or keep it out of the context with .dockerignore",
    )
