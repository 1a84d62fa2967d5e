"""Tell what a managed Registry has under the tags of repositories; run inside the node, where Services can be reached.
The task comes as JSON on standard input: host, repositories, username, password, ca. Prints, for each repository, tag ->
{digest, labels}, where labels are those of the image's config. Caches are left out."""

from __future__ import annotations

import json
import sys
from typing import Any

from strata_builder import contract
from strata_builder.oci import manifest
from strata_builder.registry import client, errors
from strata_builder.registry.config import Credential


def show(host: str, repositories: list[str], username: str, password: str, ca: str) -> dict[str, Any]:
    registry = client.Registry(host, credentials=Credential(username, password), ca=ca.encode() or None)
    try:
        return {repository: _tags(registry, repository) for repository in repositories}
    finally:
        registry.close()


def _tags(registry: client.Registry, repository: str) -> dict[str, Any]:
    try:
        names = [tag for tag in registry.tags(repository) if not tag.startswith(contract.CACHE_TAG_PREFIX)]
    except errors.NotFound:
        return {}
    return {tag: _image(registry, repository, tag) for tag in names}


def _image(registry: client.Registry, repository: str, tag: str) -> dict[str, Any]:
    found = registry.manifest(repository, tag)
    parsed = manifest.parse_manifest(found.data, found.media_type)
    config = json.loads(registry.blob_bytes(repository, parsed.config, limit=8 << 20))
    return {"digest": found.digest, "labels": config.get("config", {}).get("Labels") or {}}


if __name__ == "__main__":
    print(json.dumps(show(**json.load(sys.stdin))))
