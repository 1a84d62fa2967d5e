"""The blobs of a role: its own folder, and the folders of others that it may read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from strata_builder.engine import blobs, indexes
from strata_builder.layers import pack
from strata_builder.oci.image import LayerRef

Elsewhere = Callable[[LayerRef], Path]


class RoleBlobs(blobs.Blobs):
    """What this role packs goes to `folder`, readable for the others; all else is where `elsewhere` says."""

    def __init__(self, folder: Path, elsewhere: Elsewhere, kept: indexes.Kept | None = None) -> None:
        super().__init__(folder, blobs.Nowhere(), kept)
        folder.chmod(0o755)
        self._elsewhere = elsewhere

    def path(self, layer: LayerRef) -> Path:
        own = self.place(layer.descriptor.digest)
        return own if own.exists() else self._elsewhere(layer)

    def _can_stream(self, layer: LayerRef) -> bool:  # noqa: ARG002
        return False

    def add(self, packed: pack.PackedLayer) -> LayerRef:
        packed.blob.chmod(0o644)
        return super().add(packed)
