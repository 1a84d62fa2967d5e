"""Where COPY and ADD put what they were given: sources and a destination -> the entries of one layer. Pure.

The layer stands alone: it carries each parent directory that exists below with its true mode, owner and xattrs, so that
it depends on the lower layers' table of contents and not on their bytes. Nothing is ever written through a link that the
source brought along: the destination's own links are followed first, by name, and a link met deeper is replaced.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.engine import hardlinks, selecting
from strata_builder.engine.times import STEP_TIME
from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.frozen import frozen, replace
from strata_builder.layers import following, items, paths

FOLDER: Final = 0o755
"""The mode of directories that nothing describes."""


class Lookup(Protocol):
    """What lies below the layer in the making."""

    def lookup(self, path: bytes) -> Entry | None: ...


class Nothing:
    """A destination of which nothing is known, as --link has it."""

    def lookup(self, path: bytes) -> Entry | None:  # noqa: ARG002
        return None


@frozen
class Manner:
    """How things arrive: `owner` replaces uid and gid, `mode` maps an entry to its new permission bits, `folder` is the
    mode of directories that are made on the way."""

    owner: tuple[int, int] | None = None
    mode: Callable[[Entry], int] | None = None
    folder: int = FOLDER

    def dress(self, entry: Entry, path: bytes, time: int | None = None, digest: str | None = None) -> Entry:
        """`entry` as it arrives at `path`, with this time and digest if they are given."""
        _, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs, known = entry
        if self.owner is not None:
            uid, gid = self.owner
        if self.mode is not None and kind is not Kind.SYMLINK:
            mode = self.mode(entry)
        mtime, known = mtime if time is None else time, known if digest is None else digest
        return Entry._make((path, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs, known))

    def new_folder(self, path: bytes) -> Entry:
        uid, gid = self.owner or (0, 0)
        return Entry(path, Kind.DIR, self.folder, uid, gid, mtime=STEP_TIME)


class Layer:
    """The entries placed so far over `lower`, in the given manner."""

    def __init__(self, lower: Lookup, manner: Manner) -> None:
        self.lower, self.manner = lower, manner
        self.items = items.Items()
        self._links = hardlinks.HardLinks()
        self._new: set[bytes] = set()  # directories of which the lower layers know nothing
        self._last: bytes | None = None  # a directory that is there, and all above it

    def lookup(self, path: bytes) -> Entry | None:
        placed = self.items.get(path)
        return placed.entry if placed else self.lower.lookup(path)

    def folder(self, path: bytes, manner: Manner | None = None) -> None:
        """`path` as a directory with its parents, made where missing, in another `manner` than the layer's if given."""
        if path == self._last or self.items.kind(path) is Kind.DIR:
            return  # and with it all above it
        for parent in _with_parents(path):
            kind = self.items.kind(parent)
            if kind is not None:
                self._require_folder(parent, kind)
                continue
            found = self.lower.lookup(parent)
            if found is not None:
                self._require_folder(parent, found.kind)
                self.items.put(Item(found._replace(mtime=STEP_TIME)))
            elif parent:
                self.items.put(Item((manner or self.manner).new_folder(parent)))
                self._new.add(parent)
        self._last = path

    def put(
        self, path: bytes, entry: Entry, origin: int = 0, *, time: int | None = None, digest: str | None = None
    ) -> None:
        """One entry at `path`, dressed. A hard link comes with its content; `link` is the path of its first name.

        Raises LayerError where `path` is more than Linux takes, or cannot become what it is to be.
        """
        if len(path) > paths.MAX_PATH:
            raise errors.LayerError(
                f"the path {paths.show(path)} of what is copied is longer than Linux takes ({paths.MAX_PATH} bytes)",
                hint="copy it to a shorter destination",
            )
        self._make_way(path, entry.kind)
        self._set(self.manner.dress(entry, path, time, digest), origin)

    def _make_way(self, path: bytes, kind: Kind) -> None:
        """Raises LayerError where `path` cannot become what it is to be."""
        above = paths.split(path)[0]
        self.folder(above)
        below = self.items.kind(path)
        if below is None and above not in self._new:
            found = self.lower.lookup(path)
            below = None if found is None else found.kind
        if kind is Kind.DIR:
            if below is None:
                self._new.add(path)
            else:
                self._require_folder(path, below)
        elif below is Kind.DIR:
            raise errors.LayerError(
                f"cannot copy a file over the directory /{_show(path)}",
                hint="write a / at the end of the destination to copy into it, or remove it in an earlier RUN",
            )

    def unpack(self, path: bytes, entry: Entry, opener: Callable[[], Readable] | None = None) -> None:
        """As `put`, of an archive's entry, as `tar -x` writes it: with its own mode, over whatever else is there.

        Directories that the archive leaves out are root's. What a file takes the place of was to be cleared before.
        """
        self.folder(paths.split(path)[0], Manner())
        self._last = None  # it may be a directory's place that is taken
        self._set(replace(self.manner, mode=None).dress(entry, path), 0, opener)

    def clear(self, replaced: AbstractSet[bytes]) -> None:
        """Forgets what was placed below the paths that are to be files."""
        gone = [path for path in self.items.paths() if any(above in replaced for above in paths.parents(path))]
        self._last = None
        for path in gone:
            self._links.replaced(path)
            self._new.discard(path)
            self.items.pop(path)

    def _set(self, entry: Entry, origin: int, opener: Callable[[], Readable] | None = None) -> None:
        self._links.replaced(entry.path)
        if entry.kind is Kind.HARDLINK:
            self._links.link(entry.path, entry.link)
            entry = hardlinks.whole(entry)
        if opener is None:
            self.items.put_from(entry, origin)
        else:
            self.items.put(Item(entry, opener))

    def finished(self) -> items.Items:
        """The items, none where nothing but the root was placed."""
        for path, to in list(self._links.further(paths.order)):
            self.items.link(path, to)
        if len(self.items) == 1:
            self.items.pop(b"")
        return self.items

    def _require_folder(self, path: bytes, kind: Kind) -> None:
        if kind is not Kind.DIR:
            what = "a symbolic link" if kind is Kind.SYMLINK else "a file"
            raise errors.LayerError(
                f"cannot copy to non-directory: /{_show(path)} is {what} in the image",
                hint="copy to the directory that it names, or remove it in an earlier RUN",
            )


def place(sources: Sequence[selecting.Source], dest: bytes, *, into: bool, layer: Layer, excluded: df.Patterns) -> None:
    """Put `sources` at `dest` (normalised, links not yet followed); `into` tells that it was written as a directory."""
    target = following.follow(layer.lookup, dest)
    there = layer.lookup(target)
    if len(sources) > 1 and not into and (there is None or there.kind != Kind.DIR):
        raise errors.LayerError(
            f"several sources need a directory as destination, and /{_show(dest)} is none",
            hint=f"end the destination with a slash: /{_show(dest)}/",
        )
    is_folder = into or (there is not None and there.kind == Kind.DIR)
    for source in sources:
        at = target
        for below, entry in source.kept:
            at = posixpath.join(target, below)
            _keep(at, source, entry, layer)
        _place_one(source, at, is_folder or bool(source.kept), layer, excluded)


def _keep(path: bytes, source: selecting.Source, entry: Entry, layer: Layer) -> None:
    """A directory of --parents: as in its tree where it is new, and as it is where it is there."""
    if layer.lookup(path) is None:
        layer.put(path, entry if source.dated else entry._replace(mtime=STEP_TIME))
    else:
        layer.folder(path)


def _place_one(source: selecting.Source, target: bytes, is_folder: bool, layer: Layer, excluded: df.Patterns) -> None:
    if source.entry.kind == Kind.DIR:
        layer.folder(target)
        origin = layer.items.origin(items.Origin(source.tree.open, source.path, target))
        for below, path, entry in selecting.contents(source, excluded):
            if entry.kind is Kind.HARDLINK:
                entry = entry._replace(link=paths.join(target, entry.link))
            _put(layer, paths.join(target, below), source, path, entry, origin)
        return
    if excluded.excludes(os.fsdecode(posixpath.join(source.above, source.name))):
        return
    if is_folder:
        layer.folder(target)
    to = posixpath.join(target, source.name) if is_folder else target
    _put(layer, to, source, source.path, source.entry, layer.items.origin(_beside(source, to)))


def _beside(source: selecting.Source, to: bytes) -> items.Origin:
    """One origin for all files of a directory that go to one directory under their own names."""
    (above, name), (folder, new) = paths.split(source.path), paths.split(to)
    if name == new:
        return items.Origin(source.tree.open, above, folder)
    return items.Origin(source.tree.open, source.path, to)


def _put(layer: Layer, to: bytes, source: selecting.Source, path: bytes, entry: Entry, origin: int) -> None:
    digest = None
    # Also where the entry tells it: what a tree was asked for it reads in one pass, all else file by file.
    if entry.kind is Kind.FILE or (entry.kind is Kind.HARDLINK and not entry.digest):
        digest = source.tree.digest(path)
    layer.put(to, entry, origin, time=None if source.dated else STEP_TIME, digest=digest)


def _with_parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/") if path else []
    return [b"", *(b"/".join(parts[: n + 1]) for n in range(len(parts)))]


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
