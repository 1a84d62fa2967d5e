"""Copy one image between registries; run inside the node, where Services can be reached. The task comes as JSON on
standard input: source and target {host, repository, insecure, ca, username, password}, tag. Prints the digest."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from strata_builder.oci import manifest, platform
from strata_builder.registry import client
from strata_builder.registry.config import Credential


def registry(side: dict[str, Any]) -> client.Registry:
    credential = Credential(side["username"], side["password"]) if side.get("username") else None
    ca = side.get("ca", "").encode() or None
    return client.Registry(side["host"], credentials=credential, ca=ca, insecure=bool(side.get("insecure")))


def copy(source: dict[str, Any], target: dict[str, Any], tag: str) -> str:
    here, there = registry(source), registry(target)
    found = here.manifest(source["repository"], tag)
    parsed = manifest.parse(found.data, found.media_type)
    if isinstance(parsed, manifest.Index):
        child = parsed.select(platform.Platform("linux", "amd64"))
        found = here.manifest(source["repository"], child.digest)
        parsed = manifest.parse_manifest(found.data, found.media_type)
    for blob in (parsed.config, *parsed.layers):
        data = here.blob_bytes(source["repository"], blob, limit=256 << 20)
        there.upload_blob(target["repository"], blob, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    there.put_manifest(target["repository"], tag, found.data, found.media_type)
    return found.digest


if __name__ == "__main__":
    print(copy(**json.load(sys.stdin)))
