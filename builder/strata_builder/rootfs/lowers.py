"""Layers as folders, of which overlays are stacked: each unpacked once, many at a time."""

from __future__ import annotations

import functools
import hashlib
import itertools
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from strata_builder import workers
from strata_builder.entries import Entry, Kind
from strata_builder.frozen import frozen, replace
from strata_builder.layers import blame, halves, index, recorded
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import beside, covered, kept, placed
from strata_builder.rootfs.trash import Trash
from strata_builder.rootfs.view import View

_NONE: Final = frozenset[bytes]()
_BLOCK: Final = 4096  # of file systems; also for an inode


class Blobs(Protocol):
    """Where layers' bytes and tables of contents come from; `recall` gives one only if it is known already, `bring` sees to
    it that the bytes are at hand. Safe for threads."""

    def open(self, layer: LayerRef) -> BinaryIO: ...
    def bring(self, layer: LayerRef) -> None: ...
    def view(self, layers: Sequence[LayerRef]) -> View: ...
    def recall(self, layer: LayerRef) -> index.Index | None: ...


@frozen
class Lower:
    """One layer as a folder. `root` is the image's root directory as far as this layer speaks of it; `unset` what could
    not be written; `time` (seconds) what all its files have, where that is not the layer's word; `whole` tells that nothing
    of it was left out because layers above cover it, `lowest` that it hides all that layers below hold: of a layer's own root
    directory an overlay does not look whether it is opaque."""

    path: Path
    digest: str
    root: Entry | None
    unset: tuple[recorded.Skipped, ...] = ()
    time: int | None = None
    whole: bool = True
    lowest: bool = False


@frozen
class _Wanted:
    """A layer over those `below` it. `known` is its index, `without` what of it those above cover, `fresh` whether its files
    get the present time. `written` is done once its index is known, or if it never will be."""

    layer: LayerRef
    below: tuple[LayerRef, ...]
    known: index.Index | None
    without: frozenset[bytes]
    fresh: bool
    written: futures.Future[None]

    @property
    def needs_bytes(self) -> bool:
        return self.known is None or covered.needs_bytes(self.known, self.without)


class Lowers:
    """Unpacked layers below `scratch`, shared by all stages. A layer is unpacked once for each set of layers below it,
    on which it may depend; `learn` is told the index of each, `store` keeps them for later builds. Safe for threads."""

    def __init__(
        self,
        scratch: Path,
        blobs: Blobs,
        learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None,
        store: kept.Kept | None = None,
    ) -> None:
        self._store = store or kept.Nothing()
        self._folder = scratch / "lowers"
        self.stages = scratch / "stages"
        self.trash = Trash(scratch / "trash")
        self._blobs, self._learn = blobs, learn
        self._numbers = itertools.count()
        self._known: dict[str, Lower] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.stages.mkdir(exist_ok=True)

    def over(self, below: Sequence[LayerRef], layers: Sequence[LayerRef], fresh: Collection[str] = ()) -> list[Lower]:
        """`layers`, the lowest first, each over those below it. Those whose digests are in `fresh` have the present time on
        all their files, and are the caller's to remove. Raises LayerError, StorageLimitExceeded, OSError."""
        wanted = self._wanted([*below], layers, fresh)
        lacking = [each.layer for each in wanted if not self._has(each) and each.needs_bytes]
        with beside.begun([functools.partial(self._blobs.bring, layer) for layer in lacking]):
            return beside.all_of([functools.partial(self._lower, wanted, number) for number in range(len(wanted))])

    def keep(self, layer: LayerRef, below: Sequence[LayerRef], upper: Path) -> Lower:
        """What a step left in `upper` is `layer` from now on."""
        path = self.new(self._folder)
        upper.rename(path)
        found = path.stat()
        root = Entry(b"", Kind.DIR, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        lower = Lower(path, layer.descriptor.digest, root)
        with self._locks[key := _chain([*below, layer])]:
            return self._known.setdefault(key, lower)

    def new(self, folder: Path) -> Path:
        """A path in `folder` that nobody has yet."""
        return folder / str(next(self._numbers))

    def close(self) -> None:
        """Removes everything."""
        self.trash.throw(self._folder)
        self.trash.throw(self.stages)
        self.trash.close()

    def _wanted(self, below: list[LayerRef], layers: Sequence[LayerRef], fresh: Collection[str]) -> list[_Wanted]:
        known = [self._blobs.recall(layer) for layer in layers]
        without = covered.of(known) if len(layers) > 1 else [_NONE] * len(layers)
        found = []
        for number, layer in enumerate(layers):
            is_fresh = layer.descriptor.digest in fresh
            stack = (*below, *layers[:number])
            left_out = _NONE if is_fresh else without[number]
            found.append(_Wanted(layer, stack, known[number], left_out, is_fresh, futures.Future()))
        return found

    def _has(self, wanted: _Wanted) -> bool:
        return not wanted.fresh and any(key in self._known or self._recalled(key, wanted) for key in _keys(wanted))

    def _recalled(self, key: str, wanted: _Wanted) -> bool:
        """Whether an earlier build has kept it. All but what could not be set follows from its index."""
        found = None if wanted.known is None else self._store.find(key)
        if found is not None and wanted.known is not None:
            whole = key == _keys(wanted)[0]
            self._known.setdefault(key, _lower(wanted, wanted.known, found.path, found.unset, whole=whole))
        return found is not None

    def _lower(self, row: Sequence[_Wanted], number: int, worker: workers.Worker | None) -> Lower:
        wanted = row[number]
        try:
            if wanted.fresh:
                lower = self._unpacked(row, number, worker)
                return replace(lower, time=placed.touch(lower.path))
            with self._locks[_keys(wanted)[0]]:
                return self._shared(row, number, worker)
        finally:
            if not wanted.written.done():
                wanted.written.set_result(None)

    def _shared(self, row: Sequence[_Wanted], number: int, worker: workers.Worker | None) -> Lower:
        keys = _keys(row[number])
        for key in keys:
            if key in self._known:
                return self._known[key]
        lower = self._unpacked(row, number, worker)
        self._known[keys[-1]] = lower
        return lower

    def _unpacked(self, row: Sequence[_Wanted], number: int, worker: workers.Worker | None) -> Lower:
        wanted = row[number]
        place = None if wanted.fresh else self._store.place()
        path = place or self.new(self._folder)
        path.mkdir(mode=0o755, exist_ok=True)
        try:
            written = self._written(wanted, path, worker)
            self._learn(wanted.layer, written.contents)
            wanted.written.set_result(None)
            below = _Below(self._blobs, wanted.below, [each.written for each in row[:number]])
            with blame.layer(wanted.layer.descriptor.digest):
                unset = halves.finish(written, path, below.lookup)
        except BaseException:
            self.trash.throw(path)
            raise
        if place is not None:
            path = self._store.keep(_keys(wanted)[-1], place, unset, _size(written.contents, wanted.without))
        return _lower(wanted, written.contents, path, unset, whole=not wanted.without)

    def _written(self, wanted: _Wanted, path: Path, worker: workers.Worker | None) -> halves.Written:
        """The layer's bytes are asked for only where its index, if it is known, does not tell everything."""
        layer = wanted.layer
        if wanted.known is not None and not wanted.needs_bytes:
            return halves.from_index(wanted.known, wanted.without, path)
        how = halves.Wanted(layer.descriptor.media_type, layer.diff_id, wanted.known, wanted.without)
        if worker is not None:
            with suppress(workers.Failed):
                halves.wake(worker)
        with self._blobs.open(layer) as blob, blame.layer(layer.descriptor.digest):
            if worker is not None:
                try:
                    return halves.by(worker, blob, how, path)
                except workers.Failed:  # done once more here, where it fails as it should
                    self.trash.throw(path)
                    path.mkdir(mode=0o755)
                    blob.seek(0)
            return halves.from_blob(blob, how, path)


class LazyView:
    """Most layers never ask what is below them."""

    def __init__(self, blobs: Blobs, layers: Sequence[LayerRef]) -> None:
        self._blobs, self._layers = blobs, layers
        self._view: View | None = None

    def lookup(self, path: bytes) -> Entry | None:
        self._view = self._view or self._blobs.view(self._layers)
        return self._view.lookup(path)


class _Below(LazyView):
    """Waits until the layers below, which may be at work, have been read: else they would be read for this alone."""

    def __init__(self, blobs: Blobs, layers: Sequence[LayerRef], read: Sequence[futures.Future[None]]) -> None:
        super().__init__(blobs, layers)
        self._read = read

    def lookup(self, path: bytes) -> Entry | None:
        if self._view is None:
            futures.wait(self._read)
        return super().lookup(path)


def _lower(
    wanted: _Wanted, contents: index.Index, path: Path, unset: tuple[recorded.Skipped, ...], *, whole: bool
) -> Lower:
    root, lowest = contents.lookup(b""), b"" in contents.opaque
    return Lower(path, wanted.layer.descriptor.digest, root, unset, whole=whole, lowest=lowest)


def _size(contents: index.Index, without: frozenset[bytes]) -> int:
    """Bytes on a disk, about."""
    return sum(
        _BLOCK + entry.size for entry in contents if entry.path not in without and entry.kind is not Kind.HARDLINK
    )


def _keys(wanted: _Wanted) -> list[str]:
    """Under which its folder may be known: as a whole, or without what is covered."""
    key = _chain((*wanted.below, wanted.layer))
    return [key, f"{key} {_digest(sorted(wanted.without))}"] if wanted.without else [key]


def _chain(layers: Sequence[LayerRef]) -> str:
    return _digest([layer.descriptor.digest.encode() for layer in layers])


def _digest(words: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\0".join(words)).hexdigest()
