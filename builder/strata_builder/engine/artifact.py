"""The cache in the registry: one artifact an image and platform, two requests to read, one write.

Its config is the records; its manifest lists the layers, so that a registry's collection keeps them.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

from strata_builder.engine import records
from strata_builder.oci import digest, mediatypes
from strata_builder.oci.image import Descriptor, Manifest, describe
from strata_builder.oci.manifest import parse_manifest
from strata_builder.oci.platform import Platform
from strata_builder.registry import errors
from strata_builder.registry.client import Registry
from strata_builder.registry.push import put

MEDIA_TYPE = "application/vnd.strata.cache.v1+json"
TRIES = 3


def tag(platform: Platform) -> str:
    """The tag of a platform's cache, which no image may have."""
    return "-".join(["cache", platform.os, platform.architecture, *([platform.variant] if platform.variant else [])])


def read(registry: Registry, repository: str, name: str) -> records.Records:
    """The records there; none where there is no artifact. Raises LayerError for a damaged one, RegistryError."""
    try:
        found = registry.manifest(repository, name)
    except errors.NotFound:
        return records.Records()
    manifest = parse_manifest(found.data, found.media_type, name=f"cache {repository}:{name}")
    if manifest.config.media_type != MEDIA_TYPE:
        return records.Records()
    return records.Records.from_bytes(registry.blob_bytes(repository, manifest.config, limit=2 * records.MAX_BYTES))


def write(
    registry: Registry,
    repository: str,
    name: str,
    made: records.Records,
    *,
    today: int,
    max_age: int,
    max_size: int,
) -> records.Records:
    """`made` merged over what is there now; records whose layers the registry lost are dropped. Raises RegistryError."""
    for attempt in range(TRIES):
        whole = read(registry, repository, name).merged(made).trimmed(today=today, max_age=max_age, max_size=max_size)
        try:
            _put(registry, repository, name, whole)
        except errors.BlobsUnknown as e:
            made = _without(made, e.digests)
            if attempt == TRIES - 1 or not e.digests:
                raise
        else:
            return whole
    raise AssertionError("unreachable")


def _put(registry: Registry, repository: str, name: str, whole: records.Records) -> None:
    data = whole.to_bytes()
    config = describe(data, MEDIA_TYPE)
    registry.upload_blob(repository, config, lambda: _bytes(data))
    layers = tuple(_plain(layer.descriptor) for layer in whole.layers())
    manifest = Manifest(config, layers, mediatypes.OCI_MANIFEST)
    put(registry, repository, name, manifest.to_bytes(), manifest.media_type)


def _plain(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


def _without(made: records.Records, lost: tuple[digest.Digest, ...]) -> records.Records:
    kept = {key: r for key, r in made.steps.items() if r.layer is None or r.layer.descriptor.digest not in lost}
    return replace(made, steps=kept)


def _bytes(data: bytes) -> BinaryIO:
    return io.BytesIO(data)
