"""Small images and indexes of them, pushed to a registry as a publisher of base images would."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from strata_builder.oci import digest as digests
from strata_builder.oci import mediatypes
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry.client import Registry

Body = dict[str, Any]


def push_image(registry: Registry, repository: str, text: str, *tags: str, architecture: str = "amd64") -> Body:
    """An image whose config says `text`; gives its descriptor for an index."""
    config = _blob(registry, repository, {"architecture": architecture, "os": "linux", "author": text, "rootfs": {
        "type": "layers", "diff_ids": []}})  # fmt: skip
    body = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": config, "layers": []}
    found = _put(registry, repository, body, tags)
    return found | {"platform": {"os": "linux", "architecture": architecture}}


def push_attestation(registry: Registry, repository: str, text: str) -> Body:
    """What builders put beside images: it poses as an image for unknown/unknown."""
    found = push_image(registry, repository, f"attestation {text}")
    return found | {"platform": {"os": "unknown", "architecture": "unknown"}}


def push_index(
    registry: Registry,
    repository: str,
    children: Sequence[Body],
    *tags: str,
    annotations: Mapping[str, str] | None = None,
) -> str:
    """An index of `children`; gives its digest."""
    body: Body = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": list(children)}
    found = _put(registry, repository, body | ({"annotations": dict(annotations)} if annotations else {}), tags)
    return str(found["digest"])


def _put(registry: Registry, repository: str, body: Body, tags: Sequence[str]) -> Body:
    data = json.dumps(body).encode()
    digest = digests.of(data)
    for name in (digest, *tags):
        registry.put_manifest(repository, name, data, body["mediaType"])
    return {"mediaType": body["mediaType"], "digest": digest, "size": len(data)}


def _blob(registry: Registry, repository: str, body: Body) -> Body:
    data = json.dumps(body).encode()
    found = Descriptor(mediatypes.OCI_CONFIG, digests.of(data), len(data))
    registry.upload_blob(repository, found, lambda: io.BytesIO(data))
    return {"mediaType": found.media_type, "digest": found.digest, "size": found.size}


def child_of(data: bytes) -> str:
    """The first child of an index, empty for a manifest."""
    children = json.loads(data).get("manifests") or ()
    return str(children[0]["digest"]) if children else ""
