"""Tell what a managed Registry has under a tag or digest; run inside the node, where Services can be reached. The task
comes as JSON on standard input: host, repository, reference, username, password, ca, entries. Prints {digest, text,
entries} as JSON, where text is the manifest and the config; entries (a listing) is empty unless asked for."""

from __future__ import annotations

import json
import sys
from typing import Any

from strata_builder.oci import manifest
from strata_builder.registry import client
from strata_builder.registry.config import Credential
from support import listings

LARGEST = 1 << 30


def show(
    host: str, repository: str, reference: str, username: str, password: str, ca: str, entries: bool
) -> dict[str, Any]:
    registry = client.Registry(host, credentials=Credential(username, password), ca=ca.encode() or None)
    found = registry.manifest(repository, reference)
    parsed = manifest.parse_manifest(found.data, found.media_type)
    config = registry.blob_bytes(repository, parsed.config, limit=8 << 20)
    layers = [registry.blob_bytes(repository, layer, limit=LARGEST) for layer in parsed.layers] if entries else []
    registry.close()
    return {"digest": found.digest, "text": (found.data + config).decode(), "entries": listings.of_layers(layers)}


if __name__ == "__main__":
    print(json.dumps(show(**json.load(sys.stdin))))
