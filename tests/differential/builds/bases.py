"""The base images of the corpus: testbase of support/testbase.py in many forms, pushed to a registry of the tests."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.digest import Digest
from strata_builder.registry.client import Registry
from support import base_images, testbase

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

CONFIGURED: dict[str, Any] = {
    "User": "app",
    "WorkingDir": "/home/app",
    "Env": [testbase.PATH, "BASE=base", "QUOTED=a b", "EMPTY="],
    "Entrypoint": ["/bin/echo", "entry"],
    "Cmd": ["cmd"],
    "Volumes": {"/var/base": {}},
    "ExposedPorts": {"99/udp": {}},
    "Labels": {"base": "yes", "z": "last"},
    "StopSignal": "SIGUSR1",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 2},
    "Shell": ["/bin/sh", "-ec"],
}
TRIGGERS = ["ENV TRIGGERED=yes", "COPY f /from-trigger", "RUN echo $TRIGGERED > /trigger"]


def push_all(host: str, folder: Path) -> None:
    """Pushes every base to the registry at `host` as library/NAME:latest, which is what `FROM NAME` means."""
    with contextlib.closing(Registry(host, insecure=True)) as registry:
        _push_bases(registry, folder)


def push_testbase(host: str, folder: Path) -> None:
    """Pushes library/testbase:latest alone."""
    layer = _testbase_layer(folder)
    with contextlib.closing(Registry(host, insecure=True)) as registry:
        _push(registry, "testbase", [(f"{OCI}.layer.v1.tar", layer, layer)])


def push(host: str, name: str, layers: Sequence[base_images.Layer]) -> None:
    """Pushes library/NAME:latest, of layers in whatever form."""
    with contextlib.closing(Registry(host, insecure=True)) as registry:
        _push(registry, name, [(layer.media_type, layer.stored, layer.content) for layer in layers])


def _push_bases(registry: Registry, folder: Path) -> None:
    layer = _testbase_layer(folder)
    zipped = gzip.compress(layer, mtime=0)
    members = gzip.compress(layer[:700_000], mtime=0) + gzip.compress(layer[700_000:], mtime=0)
    zstd = subprocess.run(["zstd", "-qc"], input=layer, capture_output=True, check=True).stdout
    plain = f"{OCI}.layer.v1.tar"
    _push(registry, "testbase", [(plain, layer, layer)])
    _push(registry, "base-gzip", [(f"{plain}+gzip", zipped, layer)])
    _push(registry, "base-members", [(f"{plain}+gzip", members, layer)])
    _push(registry, "base-zstd", [(f"{plain}+zstd", zstd, layer)])
    _push(registry, "base-docker", [(DOCKER_LAYER, zipped, layer)], docker=True)
    _push(registry, "base-configured", [(plain, layer, layer)], config=CONFIGURED)
    _push(registry, "base-onbuild", [(plain, layer, layer)], config={"Env": [testbase.PATH], "OnBuild": TRIGGERS})
    _push(registry, "base-noenv", [(plain, layer, layer)], config={"Cmd": ["sh"]})
    _push(registry, "base-nopath", [(plain, layer, layer)], config={"Env": ["A=1", "B="]})
    _push(registry, "base-layers", [(plain, data, data) for data in (layer, *_more_layers())])
    _push_index(registry, "base-index", [(plain, layer, layer)], docker=False)
    _push_index(registry, "base-less", [(plain, layer, layer)], docker=False, platforms=("386", "arm/v5", "arm/v7"))
    _push_index(registry, "base-list", [(DOCKER_LAYER, zipped, layer)], docker=True)


def _testbase_layer(folder: Path) -> bytes:
    layout = testbase.write(folder)
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_read(layout, index["manifests"][0]["digest"]))
    return _read(layout, manifest["layers"][0]["digest"])


def _read(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def _more_layers() -> Iterable[bytes]:
    """Layers as other builders write them: `./` and absolute names, whiteouts, links over layers, an empty one."""
    yield base_images.tar(
        ("./", "d", 0o755), ("./srv/", "d", 0o755), ("./srv/one", "1\n", 0o644), ("./srv/two", "2\n", 0o600)
    )
    yield base_images.tar(
        ("srv/.wh.one", "", 0o644), ("srv/three", "3\n", 0o644), ("/opt/", "d", 0o750), ("/opt/x", "x\n", 0o644)
    )
    yield base_images.tar()
    yield base_images.tar(
        ("srv/", "d", 0o700), ("srv/.wh..wh..opq", "", 0o644), ("srv/four", "4\n", 0o4755), ("run", "-> tmp", 0o777)
    )
    yield base_images.tar(("opt/x2", "x\n", 0o644), ("opt/y", "=> opt/x2", 0o644))


Layers = list[tuple[str, bytes, bytes]]
"""(media type, blob, content) of each layer."""


def _push(
    registry: Registry, name: str, layers: Layers, *, config: Mapping[str, Any] | None = None, docker: bool = False
) -> None:
    data, media_type = _manifest(registry, name, layers, config, testbase.ARCHITECTURE, docker=docker)
    registry.put_manifest(f"library/{name}", "latest", data, media_type)


def _push_index(
    registry: Registry, name: str, layers: Layers, *, docker: bool, platforms: Sequence[str] = ("amd64", "arm64")
) -> None:
    """Several platforms of one content, told apart by a variable."""
    children = []
    for each in platforms:
        config = {"Env": [testbase.PATH, f"ARCHITECTURE={each}"], "Cmd": ["sh"]}
        data, media_type = _manifest(registry, name, layers, config, each, docker=docker)
        digest = _digest(data)
        registry.put_manifest(f"library/{name}", digest, data, media_type)
        platform = {"os": "linux", **_platform(each)}
        children.append({"mediaType": media_type, "digest": digest, "size": len(data), "platform": platform})
    media_type = DOCKER_LIST if docker else f"{OCI}.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": children}
    registry.put_manifest(f"library/{name}", "latest", json.dumps(index).encode(), media_type)


def _platform(text: str) -> dict[str, str]:
    architecture, _, variant = text.partition("/")
    return {"architecture": architecture} | ({"variant": variant} if variant else {})


def _manifest(
    registry: Registry, name: str, layers: Layers, config: Mapping[str, Any] | None, platform: str, *, docker: bool
) -> tuple[bytes, str]:
    body = {
        **_platform(platform),
        "os": "linux",
        "config": config or {"Env": [testbase.PATH], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(content) for _, _, content in layers]},
        "history": [
            {"created": "2001-09-09T01:46:40Z", "created_by": f"layer {number}"} for number, _ in enumerate(layers)
        ],
    }
    media_type = DOCKER if docker else f"{OCI}.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _blob(
            registry, name, DOCKER_CONFIG if docker else f"{OCI}.config.v1+json", json.dumps(body).encode()
        ),
        "layers": [_blob(registry, name, kind, data) for kind, data, _ in layers],
    }
    return json.dumps(manifest).encode(), media_type


def _blob(registry: Registry, name: str, media_type: str, data: bytes) -> dict[str, Any]:
    descriptor = Descriptor(media_type, Digest(_digest(data)), len(data))
    registry.upload_blob(f"library/{name}", descriptor, lambda: io.BytesIO(data))
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
