"""Writes a folder as an OCI image layout with one layer.

Entries are sorted and carry one fixed time, so equal trees make equal images.
"""

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

TIME = 1735689600
"""2025-01-01T00:00:00Z, the time of every file."""
EMPTIED = ("dev", "proc", "sys", "tmp")
"""Folders that a running container fills itself: kept, but without what is in them."""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def write(target: Path, tree: Path, config: dict[str, Any], architecture: str, tag: str) -> None:
    """Writes the layout into the new folder `target`, its image named `tag`."""
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer, diff_id = write_layer(blobs, tree)
    created = "2025-01-01T00:00:00Z"
    image = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "base image"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": write_json(blobs, CONFIG, image),
        "layers": [layer],
    }
    named = {**write_json(blobs, MANIFEST, manifest), "annotations": {"org.opencontainers.image.ref.name": tag}}
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))


def write_json(blobs: Path, kind: str, value: object) -> dict[str, Any]:
    """Writes a JSON blob and returns its descriptor."""
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


class Hashed:
    """A file to write to that hashes what goes through."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Hashes and writes."""
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Flushes the file."""
        self.file.flush()


def write_layer(blobs: Path, tree: Path) -> tuple[dict[str, Any], str]:
    """Packs the tree as a gzip-compressed layer; returns its descriptor and its diff id."""
    temporary = blobs / "layer"
    with temporary.open("wb") as file:
        compressed = Hashed(file)
        with gzip.GzipFile("", "wb", 6, cast(BinaryIO, compressed), mtime=0) as stream:
            plain = Hashed(cast(BinaryIO, stream))
            with tarfile.open(fileobj=cast(BinaryIO, plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for path in walk(tree):
                    tar.add(path, str(path.relative_to(tree)), recursive=False, filter=normalise)
    digest = compressed.sha256.hexdigest()
    temporary.rename(blobs / digest)
    descriptor = {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": (blobs / digest).stat().st_size}
    return descriptor, f"sha256:{plain.sha256.hexdigest()}"


def walk(tree: Path) -> Iterator[Path]:
    """Everything below a folder, parents first, sorted."""
    for folder, folders, files in os.walk(tree):
        here = Path(folder)
        folders.sort()
        yield from (here / name for name in sorted([*folders, *files]))
        if here == tree:
            folders[:] = [name for name in folders if name not in EMPTIED]


def normalise(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """One time for all, owners by number only; devices and sockets are left out."""
    entry.mtime = TIME
    entry.uname = entry.gname = ""
    return None if entry.isdev() else entry
