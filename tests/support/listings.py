"""What an image's layers hold, a line for each entry: to tell where two images differ that should not."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

Listing = Mapping[str, str]


def of_layers(layers: Iterable[bytes]) -> dict[str, str]:
    """The entries of layers (tar, compressed or not), later ones over earlier ones."""
    found: dict[str, str] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            found |= {member.name: _line(tar, member) for member in tar}
    return found


def of_archive(archive: Path) -> dict[str, str]:
    """The entries of the one image in an OCI archive."""
    with tarfile.open(archive) as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    manifest = json.loads(_blob(blobs, json.loads(blobs["index.json"])["manifests"][0]["digest"]))
    return of_layers(_blob(blobs, layer["digest"]) for layer in manifest["layers"])


def differences(one: Listing, other: Listing, most: int = 40) -> str:
    """The entries in which two listings differ, at most so many of them."""
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    lines = [f"{name}\n    {one.get(name, 'absent')}\n    {other.get(name, 'absent')}" for name in names[:most]]
    return "\n".join([f"{len(names)} entries differ", *lines])


def _line(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = tar.extractfile(member) if member.isreg() else None
    digest = hashlib.file_digest(content, "sha256").hexdigest() if content else ""  # type: ignore[arg-type]
    kind = member.type.decode("ascii", "replace")
    attributes = {name: value for name, value in member.pax_headers.items() if name.startswith("SCHILY.xattr.")}
    what = f"{kind} {member.mode:04o} {member.uid}:{member.gid} time={member.mtime:.0f} {member.linkname} {attributes}"
    return f"{what} {member.size} bytes {digest}"


def _blob(blobs: Mapping[str, bytes], digest: str) -> bytes:
    return blobs["blobs/" + digest.replace(":", "/")]
