"""Pushing what stands in for the suites' base images, under the names that the suites use."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import images
from differential.suites import stand_ins
from strata_builder.oci import reference as references
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.digest import Digest
from strata_builder.registry.client import Registry
from support import base_images

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYOUTS = {stand_ins.SMALL: "library/busybox", stand_ins.LARGE: "library/debian"}
CREATED = "2001-09-09T01:46:40Z"
FOLDERS = (
    "dev",
    "lib",
    "media",
    "mnt",
    "opt",
    "proc",
    "run",
    "srv",
    "sys",
    "usr/local/bin",
    "var/lib",
    "var/spool/mail",
)
FILES = {
    "etc/os-release": "ID=small\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/shadow": "root:::0:::::\n",
}


@dataclass(frozen=True, slots=True)
class StandIn:
    """An image as it is pushed: its manifest, with the bytes of every blob that it names."""

    manifest: dict[str, Any]
    blobs: dict[str, bytes]


def push(host: str, registry: Path, names: Iterable[tuple[str, str]]) -> None:
    """Pushes a stand-in for each (repository, tag) to the registry at `host`; `registry` is its program."""
    catalogue = {image.repository: image for image in images.catalogue(registry)}
    made: dict[str, StandIn] = {}
    with contextlib.closing(Registry(host, insecure=True)) as target:
        for name, tag in sorted(names):
            size = stand_ins.IMAGES[name]
            if size not in made:
                made[size] = _made(images.ensure(catalogue[LAYOUTS[size]]), size)
            _push(target, made[size], references.Reference.parse(name).repository, tag)


def _made(layout: Path, size: str) -> StandIn:
    """The cluster's image, the small one with the folders and files that busybox and Alpine have, too."""
    found = json.loads((layout / "index.json").read_text())["manifests"][0]
    manifest = json.loads(_blob(layout, found["digest"]))
    blobs = {item["digest"]: _blob(layout, item["digest"]) for item in (manifest["config"], *manifest["layers"])}
    if size == stand_ins.SMALL:
        _add_layer(manifest, blobs)
    return StandIn(manifest, blobs)


def _add_layer(manifest: dict[str, Any], blobs: dict[str, bytes]) -> None:
    content = base_images.tar(
        *((f"{name}/", "", 0o755) for name in FOLDERS), *((n, text, 0o644) for n, text in FILES.items())
    )
    config = json.loads(blobs.pop(manifest["config"]["digest"]))
    config["rootfs"]["diff_ids"].append(_digest(content))
    config.setdefault("history", []).append({"created": CREATED, "created_by": "folders"})
    added: dict[str, Any] = {"mediaType": GZIP}
    for item, data in ((manifest["config"], json.dumps(config).encode()), (added, gzip.compress(content, mtime=0))):
        item |= {"digest": _digest(data), "size": len(data)}
        blobs[_digest(data)] = data
    manifest["layers"].append(added)


def _push(target: Registry, image: StandIn, repository: str, tag: str) -> None:
    for item in (image.manifest["config"], *image.manifest["layers"]):
        descriptor = Descriptor(item["mediaType"], Digest(item["digest"]), item["size"])
        data = image.blobs[item["digest"]]
        target.upload_blob(repository, descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    target.put_manifest(repository, tag, json.dumps(image.manifest).encode(), image.manifest["mediaType"])


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
