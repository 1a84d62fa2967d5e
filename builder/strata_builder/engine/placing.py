"""Where COPY and ADD put what they were given: sources and a destination -> the entries of one layer. Pure.

The layer stands alone: it carries each parent directory that exists below with its true mode, owner and xattrs, so that
it depends on the lower layers' table of contents and not on their bytes. Nothing is ever written through a link that the
source brought along: the destination's own links are followed first, by name, and a link met deeper is replaced.
"""

from __future__ import annotations

import functools
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
from strata_builder.frozen import field, frozen, replace
from strata_builder.layers import following, paths

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

    def dress(self, entry: Entry, path: bytes) -> Entry:
        """`entry` as it arrives at `path`."""
        uid, gid = self.owner or (entry.uid, entry.gid)
        mode = entry.mode if self.mode is None or entry.kind == Kind.SYMLINK else self.mode(entry)
        return entry._replace(path=path, uid=uid, gid=gid, mode=mode)

    def new_folder(self, path: bytes) -> Entry:
        uid, gid = self.owner or (0, 0)
        return Entry(path, Kind.DIR, self.folder, uid, gid, mtime=STEP_TIME)


@frozen
class Layer:
    """The entries placed so far over `lower`."""

    lower: Lookup
    manner: Manner
    items: dict[bytes, Item] = field(default_factory=dict)
    _links: hardlinks.HardLinks = field(default_factory=hardlinks.HardLinks)

    def lookup(self, path: bytes) -> Entry | None:
        placed = self.items.get(path)
        return placed.entry if placed else self.lower.lookup(path)

    def folder(self, path: bytes, manner: Manner | None = None) -> None:
        """`path` as a directory with its parents, made where missing, in another `manner` than the layer's if given."""
        if (placed := self.items.get(path)) is not None and placed.entry.kind == Kind.DIR:
            return  # and with it all above it
        for parent in _with_parents(path):
            if parent in self.items:
                self._require_folder(parent, self.items[parent].entry)
                continue
            found = self.lower.lookup(parent)
            if found is not None:
                self._require_folder(parent, found)
                self.items[parent] = Item(found._replace(mtime=STEP_TIME))
            elif parent:
                self.items[parent] = Item((manner or self.manner).new_folder(parent))

    def put(self, path: bytes, entry: Entry, opener: Callable[[], Readable] | None = None) -> None:
        """One entry at `path`, dressed. A hard link comes with its content; `link` is the path of its first name."""
        self.folder(paths.split(path)[0])
        below = self.lookup(path)
        if entry.kind == Kind.DIR and below is not None:
            self._require_folder(path, below)
        if entry.kind != Kind.DIR and below is not None and below.kind == Kind.DIR:
            raise errors.LayerError(
                f"cannot copy a file over the directory /{_show(path)}",
                hint="write a / at the end of the destination to copy into it, or remove it in an earlier RUN",
            )
        self._set(self.manner.dress(entry, path), opener)

    def unpack(self, path: bytes, entry: Entry, opener: Callable[[], Readable] | None = None) -> None:
        """As `put`, of an archive's entry, as `tar -x` writes it: with its own mode, over whatever else is there.

        Directories that the archive leaves out are root's. What a file takes the place of was to be cleared before.
        """
        self.folder(paths.split(path)[0], Manner())
        self._set(replace(self.manner, mode=None).dress(entry, path), opener)

    def clear(self, replaced: AbstractSet[bytes]) -> None:
        """Forgets what was placed below the paths that are to be files."""
        gone = [path for path in self.items if any(above in replaced for above in paths.parents(path))]
        for path in gone:
            self._links.replaced(path)
            del self.items[path]

    def _set(self, entry: Entry, opener: Callable[[], Readable] | None) -> None:
        self._links.replaced(entry.path)
        item = Item(entry, opener)
        if entry.kind == Kind.HARDLINK:
            self._links.link(entry.path, entry.link)
            item = hardlinks.whole(item)
        self.items[entry.path] = item

    def finished(self) -> list[Item]:
        """The items by path, parents first; without the root where nothing else was placed. They leave the layer."""
        further = self._links.further(paths.order)
        self.items.update({path: hardlinks.further(self.items[path], to) for path, to in further})
        only_root = len(self.items) == 1
        return [self.items.pop(path) for path in sorted(self.items) if path or not only_root]

    def _require_folder(self, path: bytes, entry: Entry) -> None:
        if entry.kind != Kind.DIR:
            kind = "a symbolic link" if entry.kind == Kind.SYMLINK else "a file"
            raise errors.LayerError(
                f"cannot copy to non-directory: /{_show(path)} is {kind} in the image",
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
        for below, path, entry in selecting.contents(source, excluded):
            if entry.kind == Kind.HARDLINK:
                entry = entry._replace(link=posixpath.join(target, entry.link))
            _put(layer, paths.join(target, below), source, path, entry)
        return
    if excluded.excludes(os.fsdecode(posixpath.join(source.above, source.name))):
        return
    if is_folder:
        layer.folder(target)
    _put(layer, posixpath.join(target, source.name) if is_folder else target, source, source.path, source.entry)


def _put(layer: Layer, to: bytes, source: selecting.Source, path: bytes, entry: Entry) -> None:
    time = entry.mtime if source.dated else STEP_TIME
    if entry.kind in (Kind.FILE, Kind.HARDLINK):
        digest = source.tree.digest(path)
        layer.put(to, entry._replace(mtime=time, digest=digest), functools.partial(source.tree.open, path))
    else:
        layer.put(to, entry._replace(mtime=time))


def _with_parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/") if path else []
    return [b"", *(b"/".join(parts[: n + 1]) for n in range(len(parts)))]


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
