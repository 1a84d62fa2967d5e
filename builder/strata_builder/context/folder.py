"""A directory as a build context: read through directory descriptors, never through a link."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strata_builder import workers
from strata_builder.context import directories, kept, listing, remembered, stable, tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Entry, Kind, Readable

if TYPE_CHECKING:
    from strata_builder.context import together


class FolderTree:
    """The directory `root` without what `ignore` excludes; sockets are left out. `known` are digests of an earlier build.

    A directory is read once, when something in it is first asked for, and kept as it was then.
    """

    def __init__(self, root: Path, ignore: IgnoreRules | None = None, known: remembered.Digests | None = None) -> None:
        self.directories = directories.Directories(root)
        self.kept = kept.Kept(ignore, self.directories)
        self._known = known
        self._ahead: together.Together | None = None

    # the Tree

    def lookup(self, path: bytes) -> Entry | None:
        if not path:
            return self.directories.top
        found, at = self.directories.place(path)
        return found.entry(at, path) if at is not None and self.kept.keeps(path, found.kind(at)) else None

    def children(self, path: bytes) -> Sequence[bytes]:
        if self.kept.rules is None:
            return self.directories.read(path).names
        return [name for name, _, _ in self.entries(path)]

    def entries(self, path: bytes) -> Sequence[tree.Found]:
        if self._ahead is not None:
            self._ahead.ready(path)
        found = self.directories.read(path).entries(path)
        return found if self.kept.rules is None else [one for one in found if self.kept.keeps(one[1].path, one[1].kind)]

    def open(self, path: bytes) -> Readable:
        found, at = self.directories.file(path)
        stamp = found.stamp(at)
        descriptor = self.directories.open(path)
        if stable.size(stamp) <= stable.SMALL:
            return io.BytesIO(stable.whole(descriptor, stamp, path))
        return stable.opened(descriptor, stamp, path)

    def digest(self, path: bytes) -> str:
        found, at = self.directories.file(path)
        digest = self._known_digest(found, at)
        if digest is None:
            began = self.now()
            digest = stable.digest(self.directories.open(path), found.stamp(at), path)
            self._keep(found, at, bytes.fromhex(digest), began)
        return digest

    def identity(self, path: bytes) -> object:
        found, at = self.directories.place(path)
        return None if at is None else found.identity(at)

    # digests of many files

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
    def is_choosy(self) -> bool:
        """Whether there are files whose content need not be read: some are ignored, or known."""
        return self.kept.rules is not None or bool(self._known)

    def unhashed(self, found: listing.Listing, positions: Sequence[int]) -> list[int]:
        """Which of them are regular files whose content has to be read for their digests."""
        return [at for at in positions if found.kind(at) is Kind.FILE and self._known_digest(found, at) is None]

    def hash(self, folder: bytes, found: listing.Listing, files: list[int]) -> None:
        """Reads files of a directory for their digests. Raises LayerError."""
        began = self.now()
        self.hashed(found, files, self.directories.hash(folder, found, files), began)
        for at in files:
            if not found.is_hashed(at):
                self.digest(tree.join(folder, found.names[at]))  # again, to say what is wrong

    def hashed(self, found: listing.Listing, files: Sequence[int], digests: bytes, began: int) -> None:
        """The files' digests, one after another; they were read after `began`, a time of `now`."""
        for number, at in enumerate(files):
            digest = digests[number * listing.DIGEST : (number + 1) * listing.DIGEST]
            if digest != listing.UNKNOWN:
                self._keep(found, at, digest, began)

    def now(self) -> int:
        return self._known.now() if self._known is not None else 0

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
