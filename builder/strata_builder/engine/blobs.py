"""Where layers' bytes are: on disk under their digests, brought there when first asked for."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from strata_builder import errors
from strata_builder.layers import blame, pack, unpack
from strata_builder.layers.index import Index
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.rootfs import view


class Provider(Protocol):
    """What can bring a blob that is not on disk."""

    def bring(self, layer: LayerRef, to: Path) -> None:
        """The layer's compressed bytes, verified by digest and size, as the file `to`; it appears when it is whole."""
        ...


class Nowhere:
    """The provider of a build whose blobs are all on disk."""

    def bring(self, layer: LayerRef, to: Path) -> None:
        raise errors.InfrastructureFailed(f"layer {layer.descriptor.digest} is not at {to.parent}")


class Blobs:
    """A folder of blobs named `<hex>`, and what is known of their contents. Safe for threads."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self._provider = provider
        self._indexes: dict[str, Index] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, layer: LayerRef) -> Path:
        """The blob on disk; brought there once, however many ask."""
        path = self.place(layer.descriptor.digest)
        with self._locks[layer.descriptor.digest]:
            if not path.exists():
                self._provider.bring(layer, path)
        return path

    def place(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")

    def open(self, layer: LayerRef) -> BinaryIO:
        return self.path(layer).open("rb", buffering=0)

    def add(self, packed: pack.PackedLayer) -> LayerRef:
        """A layer that was just packed takes its place under its digest."""
        packed.blob.rename(self.place(packed.digest))
        self._indexes[packed.digest] = packed.index
        return LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)

    def index(self, layer: LayerRef) -> Index:
        """The layer's table of contents; its bytes are read through once if nobody has yet."""
        digest = layer.descriptor.digest
        if digest not in self._indexes:
            with self.open(layer) as blob, blame.layer(digest):
                self._indexes[digest] = unpack.scan(blob, layer.descriptor.media_type, layer.diff_id)
        return self._indexes[digest]

    def learn(self, layer: LayerRef, contents: Index) -> None:
        """The index of a layer that somebody unpacked, so that its bytes need not be read again for it."""
        self._indexes.setdefault(layer.descriptor.digest, contents)

    def view(self, layers: Sequence[LayerRef]) -> view.View:
        """The merged file system of `layers`, the lowest first."""
        return view.View(tuple(self.index(layer) for layer in layers))
