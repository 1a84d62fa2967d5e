"""Stages' file systems as overlay mounts: each layer unpacked once, what a step changed is the next layer."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from strata_builder.entries import Entry, Kind
from strata_builder.frozen import frozen, replace
from strata_builder.layers import blame, diff, index, recorded, unpack
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import covered, kernel, placed, points, stack
from strata_builder.rootfs.trash import Trash
from strata_builder.rootfs.view import View

_ROOT: Final = Entry(b"", Kind.DIR, 0o755)


class Blobs(Protocol):
    """Where layers' bytes and tables of contents come from; `recall` gives one only if it is known already."""

    def open(self, layer: LayerRef) -> BinaryIO: ...
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


class Lowers:
    """Unpacked layers below `scratch`, shared by all stages. A layer is unpacked once for each set of layers below it,
    on which it may depend; `learn` is told the index of each. Safe for threads."""

    def __init__(
        self, scratch: Path, blobs: Blobs, learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None
    ) -> None:
        self._folder = scratch / "lowers"
        self.stages = scratch / "stages"
        self.trash = Trash(scratch / "trash")
        self._blobs, self._learn = blobs, learn
        self._numbers = itertools.count()
        self._known: dict[str, Lower] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.stages.mkdir(exist_ok=True)

    def get(self, layer: LayerRef, below: Sequence[LayerRef], without: frozenset[bytes] = frozenset()) -> Lower:
        """`layer` over the layers `below` it, perhaps `without` some paths, which those above it cover. Raises
        LayerError, StorageLimitExceeded, OSError."""
        key = _chain([*below, layer])
        with self._locks[key]:
            if key in self._known:
                return self._known[key]
            wanted = f"{key} {_digest(sorted(without))}" if without else key
            if wanted not in self._known:
                self._known[wanted] = self._unpack(layer, below, self.new(self._folder), without)
            return self._known[wanted]

    def covered(self, layers: Sequence[LayerRef]) -> list[frozenset[bytes]]:
        """Of each of `layers` what those above it cover, as far as tables of contents are known."""
        return (
            covered.of([self._blobs.recall(layer) for layer in layers])
            if len(layers) > 1
            else [frozenset()] * len(layers)
        )

    def touched(self, layer: LayerRef, below: Sequence[LayerRef]) -> Lower:
        """The same, unpacked anew, with the present time on all its files; it is the caller's to remove."""
        lower = self._unpack(layer, below, self.new(self._folder))
        seconds = placed.touch(lower.path)
        return replace(lower, time=seconds)

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

    def _unpack(
        self, layer: LayerRef, below: Sequence[LayerRef], path: Path, without: frozenset[bytes] = frozenset()
    ) -> Lower:
        skipped: list[recorded.Skipped] = []
        path.mkdir(mode=0o755)
        try:
            contents = self._written(layer, path, skipped, LazyView(self._blobs, below).lookup, without)
        except BaseException:
            self.trash.throw(path)
            raise
        self._learn(layer, contents)
        root = contents.lookup(b"")
        lowest = b"" in contents.opaque
        return Lower(path, layer.descriptor.digest, root, tuple(skipped), whole=not without, lowest=lowest)

    def _written(
        self,
        layer: LayerRef,
        path: Path,
        skipped: list[recorded.Skipped],
        lower: Callable[[bytes], Entry | None],
        without: frozenset[bytes],
    ) -> index.Index:
        """The layer's index; its bytes are asked for only where that, if it is known, does not tell everything."""
        known = self._blobs.recall(layer)
        if known is not None and not covered.needs_bytes(known, without):
            unpack.unpack_known(known, path, skipped=skipped, lower=lower, covered=without)
            return known
        with self._blobs.open(layer) as blob, blame.layer(layer.descriptor.digest):
            return unpack.unpack_to(
                blob,
                layer.descriptor.media_type,
                path,
                overlay=True,
                owner=unpack.OwnerPolicy.RECORD,
                skipped=skipped,
                lower=lower,
                diff_id=layer.diff_id,
                known=known,
                covered=without,
            )


class LazyView:
    """Most layers never ask what is below them."""

    def __init__(self, blobs: Blobs, layers: Sequence[LayerRef]) -> None:
        self._blobs, self._layers = blobs, layers
        self._view: View | None = None

    def lookup(self, path: bytes) -> Entry | None:
        self._view = self._view or self._blobs.view(self._layers)
        return self._view.lookup(path)


class Stage:
    """One stage's file system: layers, and what the present step changes above them. Used by one thread at a time."""

    def __init__(self, lowers: Lowers) -> None:
        self._lowers = lowers
        self._folder = lowers.new(lowers.stages)
        self._layers: list[LayerRef] = []
        self._stack: list[Lower] = []
        self._folder.mkdir(parents=True)
        for name in ("empty", "root"):
            (self._folder / name).mkdir()

    @property
    def root(self) -> Path:
        """An empty directory to mount the stage at."""
        return self._folder / "root"

    def sync(self, layers: Sequence[LayerRef], fresh: Collection[str] = ()) -> None:
        """Makes the stage what `layers` (the lowest first) are. Those whose digests are in `fresh` come to it now,
        with their files' times."""
        same = 0
        while same < min(len(layers), len(self._layers)) and layers[same] == self._layers[same]:
            same += 1
        if same < len(self._layers) and not all(lower.whole for lower in self._stack):
            same = 0  # what covered some of it may be among those that go
        del self._layers[same:], self._stack[same:]
        new = layers[same:]
        for layer, without in zip(new, self._lowers.covered(new), strict=True):
            below = tuple(self._layers)
            is_fresh = layer.descriptor.digest in fresh
            lower = self._lowers.touched(layer, below) if is_fresh else self._lowers.get(layer, below, without)
            self._stack.append(lower)
            self._layers.append(layer)

    def begin(self) -> stack.Stack:
        """A fresh place for changes over the layers."""
        for name in ("upper", "work"):
            self._lowers.trash.throw(self._folder / name)
            (self._folder / name).mkdir(mode=0o755)
        self._dress(self._folder / "upper")
        lowest = max((number for number, lower in enumerate(self._stack) if lower.lowest), default=0)
        lowers = tuple(lower.path for lower in self._stack[lowest:]) or (self._folder / "empty",)
        return stack.Stack(lowers, self._folder / "upper", self._folder / "work")

    def forget(self, made: Sequence[bytes]) -> None:
        """Removes mount points (parents first) that were made for a step, unless it put something into them."""
        points.forget(self._folder / "upper", made)

    def changes(self, lower: View, *, clamp: int | None) -> diff.Changes:
        """What the step changed against `lower`, the view of the layers. The items open files of the stage, which
        has to stay as it is until they are packed. Raises LayerError."""
        times = {number: found.time for number, found in enumerate(self._stack) if found.time is not None}
        unset = [skipped for found in self._stack for skipped in found.unset]
        dated = placed.Dated(lower, times)
        return diff.diff_upper(self._folder / "upper", dated, clamp_mtime=clamp, unset=unset)

    def commit(self, layer: LayerRef | None) -> None:
        """The changes are `layer` now; None: there were none."""
        if layer is None:
            self._lowers.trash.throw(self._folder / "upper")
            return
        self._stack.append(self._lowers.keep(layer, tuple(self._layers), self._folder / "upper"))
        self._layers.append(layer)

    def close(self) -> None:
        self._lowers.trash.throw(self._folder)

    def _dress(self, upper: Path) -> None:
        """The root directory that a step sees is the upper one."""
        root = next((lower.root for lower in reversed(self._stack) if lower.root is not None), _ROOT)
        with suppress(PermissionError, OverflowError):
            os.chown(upper, root.uid, root.gid)
        upper.chmod(root.mode)


@contextmanager
def shown(lowers: Lowers, layers: Sequence[LayerRef]) -> Iterator[Path]:
    """A folder that shows `layers` merged, mounted in this process's mount namespace; what is written there is thrown
    away."""
    stage = Stage(lowers)
    try:
        stage.sync(layers)
        stack.mount(stage.begin(), stage.root)
        try:
            yield stage.root
        finally:
            kernel.unmount(os.fsencode(stage.root))
    finally:
        stage.close()


def _chain(layers: Sequence[LayerRef]) -> str:
    return _digest([layer.descriptor.digest.encode() for layer in layers])


def _digest(words: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\0".join(words)).hexdigest()
