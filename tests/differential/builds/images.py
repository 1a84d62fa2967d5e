"""Reading an OCI archive back, with Python's own tar reader: every entry of every layer, and the config."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

XATTR = "SCHILY.xattr."
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer; `content` is its digest, `text` its first bytes, for people."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    content: str = ""
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    time: float = 0
    text: bytes = b""


Layer = dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Image:
    """`layers` are in order, each by path without a leading or ending slash; `faults` what is wrong in the image itself."""

    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: list[Layer]
    faults: list[str]


def read(archive: Path, known: dict[str, Layer]) -> Image:
    """The one image of an archive. `known` keeps layers by diffID between calls: bases are read once."""
    with tarfile.open(archive) as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    digest = json.loads(blobs["index.json"])["manifests"][0]["digest"]
    return of(digest, lambda wanted: blobs["blobs/" + wanted.replace(":", "/")], known)


def of(digest: str, blob: Callable[[str], bytes], known: dict[str, Layer]) -> Image:
    """The image of a manifest, or the first one of an index, from blobs by digest."""
    manifest = json.loads(_checked(blob, digest))
    while "manifests" in manifest:
        manifest = json.loads(_checked(blob, manifest["manifests"][0]["digest"]))
    config = json.loads(_checked(blob, manifest["config"]["digest"]))
    faults: list[str] = []
    layers = [_layer(_checked(blob, item["digest"]), known, faults) for item in manifest["layers"] or []]
    faults += _counts(config, layers)
    return Image(digest, manifest, config, [layer for _, layer in layers], faults)


def _checked(blob: Callable[[str], bytes], digest: str) -> bytes:
    content = blob(digest)
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise AssertionError(f"the blob {digest} has another digest")
    return content


def _layer(blob: bytes, known: dict[str, Layer], faults: list[str]) -> tuple[str, Layer]:
    content = _unpacked(blob)
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if diff_id not in known:
        known[diff_id] = parse(content, faults)
    return diff_id, known[diff_id]


def _counts(config: Mapping[str, Any], layers: list[tuple[str, Layer]]) -> list[str]:
    """Whether rootfs and history say of the layers what they are."""
    faults = []
    if (config["rootfs"].get("diff_ids") or []) != [diff_id for diff_id, _ in layers]:
        faults.append("rootfs.diff_ids are not the digests of the layers' content")
    filled = [item for item in config.get("history") or [] if not item.get("empty_layer")]
    if len(filled) != len(layers):
        faults.append(f"history tells of {len(filled)} layers, and there are {len(layers)}")
    return faults


def _unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dqc"], input=content, capture_output=True, check=True).stdout
    return content


def parse(content: bytes, faults: list[str]) -> Layer:
    """The entries of a layer's tar; names that are there twice are added to `faults`."""
    layer: Layer = {}
    if not content:
        return layer
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as tar:
        for member in tar:
            path = os.path.normpath("/" + member.name).lstrip("/")
            if path in layer:
                faults.append(f"{path} is twice in one layer")
            layer[path] = _entry(tar, member)
    return layer


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    reader = tar.extractfile(member) if member.isreg() else None
    data = reader.read() if reader else b""
    pax = member.pax_headers.items()
    xattrs = {key.removeprefix(XATTR): os.fsencode(value) for key, value in pax if key.startswith(XATTR)}
    digest = hashlib.sha256(data).hexdigest() if member.isreg() else ""
    linked = member.issym() or member.islnk()
    device = (member.devmajor, member.devminor) if member.isdev() and not member.isfifo() else (0, 0)
    return Entry(
        KINDS[member.type],
        0o777 if member.issym() else member.mode,
        member.uid,
        member.gid,
        len(data),
        digest,
        member.linkname if linked else "",
        device,
        xattrs,
        member.mtime,
        data[:200],
    )
