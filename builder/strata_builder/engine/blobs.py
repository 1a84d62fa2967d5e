"""Where layers' bytes are: on disk under their digests, brought there when first asked for."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

from strata_builder import contents, errors
from strata_builder.engine import indexes
from strata_builder.layers import blame, pack, unpack
from strata_builder.layers.index import Index
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.rootfs import view

_WORKERS: Final = 8
_Made = TypeVar("_Made")


class Provider(Protocol):
    """What can bring a blob that is not on disk."""

    def bring(self, layer: LayerRef, to: Path) -> None:
        """The layer's compressed bytes, verified by digest and size, as the file `to`; it appears when it is whole."""
        ...

    def read(self, layer: LayerRef, make: Callable[[BinaryIO], _Made]) -> _Made:
        """What `make` makes of the layer's compressed bytes as they come in; verified as by `bring`."""
        ...


class Nowhere:
    """The provider of a build whose blobs are all on disk."""

    def bring(self, layer: LayerRef, to: Path) -> None:
        raise errors.InfrastructureFailed(f"layer {layer.descriptor.digest} is not at {to.parent}")

    def read(self, layer: LayerRef, make: Callable[[BinaryIO], _Made]) -> _Made:  # noqa: ARG002
        raise errors.InfrastructureFailed(f"layer {layer.descriptor.digest} is not here")


class Blobs:
    """A folder of blobs named `<hex>`, and what is known of their contents. Safe for threads."""

    def __init__(self, folder: Path, provider: Provider, kept: indexes.Kept | None = None) -> None:
        self.folder = folder
        self._provider = provider
        self._kept = kept or indexes.Nothing()
        self._indexes: dict[str, Index] = {}
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, layer: LayerRef) -> Path:
        """The blob on disk; brought there once, however many ask."""
        path = self.place(layer.descriptor.digest)
        with self._locks[layer.descriptor.digest]:
            if not contents.has_all(path, layer.descriptor.size):
                self._provider.bring(layer, path)
        return path

    def place(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")

    def open(self, layer: LayerRef) -> BinaryIO:
        return self.path(layer).open("rb", buffering=0)

    def bring(self, layer: LayerRef) -> None:
        """Sees to it that the layer's bytes are at hand."""
        self.path(layer)

    def add(self, packed: pack.PackedLayer) -> LayerRef:
        """A layer that was just packed takes its place under its digest."""
        packed.blob.rename(self.place(packed.digest))
        self._indexes[packed.digest] = packed.index
        return LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)

    def index(self, layer: LayerRef, *, keep: bool = False) -> Index:
        """The layer's table of contents. Where nobody has kept it, the layer's bytes are read through once; with `keep`
        they then stay on disk, for a caller that will want them."""
        digest = layer.descriptor.digest
        with self._locks[digest]:
            if digest not in self._indexes:
                found = self._kept.find(digest)
                self._indexes[digest] = self._scanned(layer, keep) if found is None else found
            return self._indexes[digest]

    def recall(self, layer: LayerRef) -> Index | None:
        """The layer's table of contents if this build knows it, or somebody has kept it; no layer is read for it."""
        digest = layer.descriptor.digest
        with self._locks[digest]:
            if digest not in self._indexes and (found := self._kept.find(digest)) is not None:
                self._indexes[digest] = found
            return self._indexes.get(digest)

    def _scanned(self, layer: LayerRef, keep: bool) -> Index:
        def scan(blob: BinaryIO) -> Index:
            with blame.layer(layer.descriptor.digest):
                return unpack.scan(blob, layer.descriptor.media_type, layer.diff_id)

        if not keep and self._can_stream(layer):
            return self._provider.read(layer, scan)
        with self.open(layer) as blob:
            return scan(blob)

    def _can_stream(self, layer: LayerRef) -> bool:
        return not contents.has_all(self.place(layer.descriptor.digest), layer.descriptor.size)

    @property
    def known(self) -> Mapping[str, Index]:
        """By layer, the tables of contents that this build has come to know."""
        return dict(self._indexes)

    def learn(self, layer: LayerRef, found: Index) -> None:
        """The index of a layer that somebody unpacked, so that its bytes need not be read again for it."""
        self._indexes.setdefault(layer.descriptor.digest, found)

    def view(self, layers: Sequence[LayerRef], *, keep: bool = False) -> view.View:
        """The merged file system of `layers`, the lowest first; `keep` as for `index`."""
        unknown = [layer for layer in dict.fromkeys(layers) if layer.descriptor.digest not in self._indexes]
        if len(unknown) > 1:
            self._learn_all(unknown, keep)
        return view.View(tuple(self.index(layer, keep=keep) for layer in layers))

    def _learn_all(self, unknown: Sequence[LayerRef], keep: bool) -> None:
        """Side by side, for most of the time goes by waiting; the first failure ends it."""
        with futures.ThreadPoolExecutor(min(_WORKERS, len(unknown)), thread_name_prefix="index") as pool:
            running = [pool.submit(self.index, layer, keep=keep) for layer in unknown]
            done, rest = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
            for waiting in rest:
                waiting.cancel()
            for ended in done:
                ended.result()
