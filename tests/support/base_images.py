"""Base images in every form that registries hold, right and wrong, put into a fake registry exactly as they are told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backports import zstd

from strata_builder.oci import mediatypes
from support import tars, testbase
from support.fake_registry import FakeRegistry

PLAIN_CONFIG: Final[Mapping[str, Any]] = {"Env": [testbase.PATH], "Cmd": ["sh"]}
ELSEWHERE: Final = next(name for name in ("amd64", "arm64") if name != testbase.ARCHITECTURE)
"""An architecture that is not this machine's."""


@dataclass(frozen=True, slots=True)
class Layer:
    """`content` is the tar; `blob` what the registry stores, the tar itself if empty."""

    content: bytes
    media_type: str = mediatypes.OCI_LAYER
    blob: bytes = b""
    urls: tuple[str, ...] = ()

    @property
    def stored(self) -> bytes:
        return self.blob or self.content

    @property
    def diff_id(self) -> str:
        return sha256(self.content)

    def descriptor(self) -> dict[str, Any]:
        found = {"mediaType": self.media_type, "digest": sha256(self.stored), "size": len(self.stored)}
        return found | ({"urls": list(self.urls)} if self.urls else {})


def gzipped(
    content: bytes, *, members: int = 1, media_type: str = mediatypes.OCI_LAYER_GZIP, tail: bytes = b""
) -> Layer:
    """A layer in as many gzip members, with `tail` after them."""
    step = -(-len(content) // members) or 1
    pieces = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
    return Layer(content, media_type, b"".join(gzip.compress(piece, mtime=0) for piece in pieces) + tail)


def zstd_frames(content: bytes, *, frames: int = 1, media_type: str = mediatypes.OCI_LAYER_ZSTD) -> Layer:
    """A layer in as many zstd frames, a skippable one before each but the first (RFC 8878, 3.1.2)."""
    step = -(-len(content) // frames)
    pieces = [zstd.compress(content[at : at + step]) for at in range(0, len(content), step)]
    return Layer(content, media_type, b"\x50\x2a\x4d\x18\x03\0\0\0abc".join(pieces))


def tar(*members: tuple[str, str, int], form: int = tarfile.GNU_FORMAT) -> bytes:
    """(name, content, mode) each: a name that ends in / is a directory, `-> t` and `=> t` are links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content, mode in members:
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = mode, 1_100_000_000
            data = b""
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif content[:3] in ("-> ", "=> "):
                member.type = tarfile.SYMTYPE if content[0] == "-" else tarfile.LNKTYPE
                member.linkname = content[3:]
            else:
                data = content.encode()
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def raw(*blocks: bytes) -> bytes:
    """A tar of blocks by hand."""
    return b"".join(blocks) + tars.END


def busybox_layer(folder: Path) -> Layer:
    """The one layer of the testbase, which is written below `folder`."""
    layout = testbase.write(folder)
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]))
    return Layer(_blob(layout, manifest["layers"][0]["digest"]))


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def config(layers: Sequence[Layer], runtime: Mapping[str, Any] = PLAIN_CONFIG, **top: Any) -> dict[str, Any]:
    """A config of `layers`; `top` replaces fields of the document, `...` removes one."""
    whole = {
        "architecture": testbase.ARCHITECTURE,
        "os": "linux",
        "config": dict(runtime),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2001-09-09T01:46:40Z", "created_by": f"layer {n}"} for n, _ in enumerate(layers)],
    } | top
    return {key: value for key, value in whole.items() if value is not ...}


def put(
    registry: FakeRegistry,
    repository: str,
    layers: Sequence[Layer],
    document: Mapping[str, Any] | bytes | None = None,
    /,
    *,
    docker: bool = False,
    tag: str = "latest",
    **fields: Any,
) -> dict[str, Any]:
    """Stores an image and returns the descriptor of its manifest. `document` is its config, `fields` replaces those of
    the manifest (`...` removes one)."""
    document = config(layers) if document is None else document
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    kind = mediatypes.DOCKER_CONFIG if docker else mediatypes.OCI_CONFIG
    whole = {
        "schemaVersion": 2,
        "mediaType": mediatypes.DOCKER_MANIFEST if docker else mediatypes.OCI_MANIFEST,
        "config": {"mediaType": kind, "digest": registry.add_blob(repository, data), "size": len(data)},
        "layers": [layer.descriptor() for layer in layers],
    } | fields
    for layer in layers:
        registry.add_blob(repository, layer.stored)
    return put_manifest(registry, repository, {k: v for k, v in whole.items() if v is not ...}, tag=tag, docker=docker)


def put_manifest(
    registry: FakeRegistry, repository: str, manifest: Mapping[str, Any], *, tag: str = "latest", docker: bool = False
) -> dict[str, Any]:
    """Stores a manifest or an index as it stands and returns its descriptor."""
    usual = mediatypes.DOCKER_MANIFEST if docker else mediatypes.OCI_MANIFEST
    data, kind = json.dumps(manifest).encode(), manifest.get("mediaType", usual)
    return {"mediaType": kind, "digest": registry.add_manifest(repository, data, kind, tag), "size": len(data)}


def index(*children: Mapping[str, Any], docker: bool = False) -> dict[str, Any]:
    media_type = mediatypes.DOCKER_INDEX if docker else mediatypes.OCI_INDEX
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": list(children)}


def on(child: Mapping[str, Any], architecture: str = testbase.ARCHITECTURE, system: str = "linux") -> dict[str, Any]:
    """The descriptor with a platform."""
    return {**child, "platform": {"os": system, "architecture": architecture}}


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
