"""An image as an immutable value: a change gives another image, and bytes and digests follow from the value alone.
Pure.

This module is the front door of the package's values: `image.Descriptor`, `Manifest`, `Index`, `ImageConfig`,
`History`, `Image`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strata_builder.frozen import frozen, replace
from strata_builder.oci import digest, errors, mediatypes, platform
from strata_builder.oci.config import MAX_CONFIG, History, ImageConfig
from strata_builder.oci.descriptor import Descriptor, describe
from strata_builder.oci.manifest import MAX_MANIFEST, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_CONFIG",
    "MAX_MANIFEST",
    "Descriptor",
    "History",
    "Image",
    "ImageConfig",
    "Index",
    "LayerRef",
    "Manifest",
    "describe",
    "index_of",
]


@frozen
class LayerRef:
    """A layer by both its names: the compressed blob's descriptor and the SHA-256 of the plain tar."""

    descriptor: Descriptor
    diff_id: digest.Digest


@frozen
class Image:
    """`config.diff_ids` always equals the layers' diffIDs, and as many history entries have a layer. `family` decides
    all media types."""

    config: ImageConfig
    layers: tuple[LayerRef, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    family: mediatypes.Family = mediatypes.Family.OCI

    def __post_init__(self) -> None:
        if self.config.diff_ids != tuple(layer.diff_id for layer in self.layers):
            raise errors.ImageInvalid(
                f"the config lists {len(self.config.diff_ids)} diffIDs that are not those of the"
                f" {len(self.layers)} layers"
            )

    @classmethod
    def scratch(cls, wanted: platform.Platform) -> Image:
        return cls(ImageConfig.scratch(wanted))

    @classmethod
    def of(cls, source: Manifest, config: ImageConfig, *, name: str = "image") -> Image:
        """The image that `source` and its `config` describe, as a base to build on: in OCI's media types whatever it
        was, its history made to fit its layers, its manifest's annotations (which are its own) left behind. Raises
        ImageInvalid."""
        if len(source.layers) != len(config.diff_ids):
            raise errors.ImageInvalid(
                f"{name}: the manifest has {len(source.layers)} layers, but the config {len(config.diff_ids)} diffIDs"
            )
        for number, layer in enumerate(source.layers, 1):
            _check_layer(layer, f"{name}: layer {number} of {len(source.layers)} ({layer.digest})")
        refs = tuple(
            LayerRef(_in_family(layer, mediatypes.Family.OCI), diff_id)
            for layer, diff_id in zip(source.layers, config.diff_ids, strict=True)
        )
        return cls(_fitting_history(config), refs)

    def append(self, layer: LayerRef | None, history: History) -> Image:
        """One more step; without a layer its history entry is marked empty."""
        entry = replace(history, empty_layer=layer is None)
        config = self.config.append_history(entry, layer.diff_id if layer else None)
        return replace(self, config=config, layers=(*self.layers, *([layer] if layer else [])))

    def with_config(self, config: ImageConfig) -> Image:
        return replace(self, config=config)

    def with_annotations(self, annotations: Iterable[tuple[str, str]]) -> Image:
        return replace(self, annotations=tuple(sorted(annotations)))

    def config_bytes(self) -> bytes:
        return self.config.to_bytes()

    @property
    def config_descriptor(self) -> Descriptor:
        return describe(self.config_bytes(), mediatypes.convert(mediatypes.OCI_CONFIG, self.family))

    @property
    def manifest(self) -> Manifest:
        layers = tuple(_in_family(layer.descriptor, self.family) for layer in self.layers)
        kind = mediatypes.convert(mediatypes.OCI_MANIFEST, self.family)
        return Manifest(self.config_descriptor, layers, kind, self.annotations)

    def manifest_bytes(self) -> bytes:
        return self.manifest.to_bytes()

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest, with the platform: what an index lists."""
        made = describe(self.manifest_bytes(), mediatypes.convert(mediatypes.OCI_MANIFEST, self.family))
        return replace(made, platform=self.config.platform)

    @property
    def digest(self) -> digest.Digest:
        return digest.of(self.manifest_bytes())

    @property
    def size(self) -> int:
        """Bytes of the config and of all layers as they are stored."""
        return self.config_descriptor.size + sum(layer.descriptor.size for layer in self.layers)


def index_of(images: Iterable[Image], annotations: Iterable[tuple[str, str]] = ()) -> Index:
    """One index over images of different platforms, sorted by platform so that the order of building does not
    matter."""
    children = sorted((image.descriptor for image in images), key=lambda child: str(child.platform))
    return Index(tuple(children), annotations=tuple(sorted(annotations)))


def _check_layer(layer: Descriptor, where: str) -> None:
    """Raises ImageInvalid unless it is a file system's layer that its registry is there to give to anybody."""
    if mediatypes.is_foreign(layer.media_type):
        at = f", but at {layer.urls[0][:200]}" if layer.urls else ""
        raise errors.ImageInvalid(
            f"{where} is foreign ({layer.media_type}): it may not be given away, and need not be in the registry{at}",
            hint="use a base image without such layers; those of Windows have them, and are not built here",
        )
    if layer.media_type.endswith("+encrypted"):
        raise errors.ImageInvalid(
            f"{where} is encrypted ({layer.media_type})",
            hint="put a copy without encryption into your registry (skopeo copy --decryption-key ...), and use that",
        )
    if not mediatypes.is_layer(layer.media_type):
        raise errors.ImageInvalid(
            f"{where} has the media type {layer.media_type[:100]!r}, which is none of a file system's layer",
            hint="the reference names an artifact (a chart, a signature, ...): name an image",
        )


def _in_family(layer: Descriptor, family: mediatypes.Family) -> Descriptor:
    wanted = mediatypes.convert(layer.media_type, family)
    return layer if wanted == layer.media_type else replace(layer, media_type=wanted)


def _fitting_history(config: ImageConfig) -> ImageConfig:
    """Some old images tell less or more steps than they have layers; readers count on both agreeing."""
    data = config.data()
    history = list(data.get("history") or [])
    missing = len(config.diff_ids) - sum(1 for entry in history if not entry.get("empty_layer"))
    if missing == 0:
        return config
    if missing > 0:
        return config.with_(history=[*history, *({} for _ in range(missing))])
    for entry in reversed(history):
        if missing < 0 and not entry.get("empty_layer"):
            entry["empty_layer"] = True
            missing += 1
    return config.with_(history=history)
