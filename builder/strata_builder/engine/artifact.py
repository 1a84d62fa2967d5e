"""The cache in the registry: one artifact an image and platform, two requests to read, one write (`recording`).

Its config is the records; its manifest lists the layers, so that a registry's collection keeps them, and as further blobs
the tables of contents of those layers and of bases.
"""

from __future__ import annotations

import functools

from strata_builder.engine import records
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.manifest import parse_manifest
from strata_builder.oci.platform import Platform
from strata_builder.registry import errors
from strata_builder.registry.client import Registry

MEDIA_TYPE = "application/vnd.strata.cache.v1+json"


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
    return _records(registry, repository, manifest.config)


@functools.lru_cache(maxsize=4)
def _records(registry: Registry, repository: str, config: Descriptor) -> records.Records:
    """Once for each digest: before an artifact is written it is looked at again, and mostly it is still the same."""
    return records.Records.from_bytes(registry.blob_bytes(repository, config, limit=2 * records.MAX_BYTES))
