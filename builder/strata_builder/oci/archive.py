"""The archive of `docker save` and `docker load`.

What is written is an OCI layout with docker's `manifest.json` and `repositories` beside it, as Docker 25 and later
write it: both worlds load it. What is read is that, and the older form with `<id>/layer.tar`, plain or compressed
layers, and links between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

from strata_builder.frozen import frozen, replace
from strata_builder.oci import digest as digests
from strata_builder.oci import errors, fields, image, layout, mediatypes, strictjson
from strata_builder.oci.reference import Reference

MAX_LIST: Final = 4 << 20
_MAGIC: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


@frozen
class Saved:
    """An image and the names it goes by (each with a tag)."""

    image: image.Image
    names: tuple[Reference, ...] = ()


def write(out: BinaryIO, images: Sequence[Saved], open_blob: layout.OpenBlob) -> None:
    """All `images` as one tar stream; `open_blob` opens layers. Equal images give equal bytes. Raises
    DigestMismatch."""
    small: dict[str, bytes] = {}
    blobs: list[image.Descriptor] = []
    for saved in images:
        config, manifest = saved.image.config_descriptor, saved.image.descriptor
        small |= {config.digest: saved.image.config_bytes(), manifest.digest: saved.image.manifest_bytes()}
        blobs += [config, manifest, *(layer.descriptor for layer in saved.image.layers)]
    index = image.Index(tuple(entry for saved in images for entry in _index_entries(saved)))
    files = [
        ("manifest.json", _compact([_docker_entry(saved) for saved in images])),
        ("repositories", _repositories(images)),
    ]

    def open_any(descriptor: image.Descriptor) -> BinaryIO:
        import io

        return io.BytesIO(small[descriptor.digest]) if descriptor.digest in small else open_blob(descriptor)

    layout.write_tar(out, index, blobs, open_any, files=files)


class Archive:
    """A docker-save archive in an uncompressed tar file, read in place. Every layer is hashed once when it is opened.
    Close it."""

    def __init__(self, path: Path) -> None:
        """Raises ImageInvalid."""
        self.name = str(path)
        self._tar = layout.open_tar(path)
        self._paths: dict[digests.Digest, str] = {}
        try:
            self.images = tuple(self._image(entry) for entry in self._entries())
        except BaseException:
            self._tar.close()
            raise

    def open(self, descriptor: image.Descriptor) -> BinaryIO:
        """A verified reader of a layer, as stored in the archive."""
        path = self._paths.get(descriptor.digest)
        if path is None:
            raise errors.ImageInvalid(f"{self.name} has no layer {descriptor.digest}")
        reader = digests.Verifier(self._tar.open(path), descriptor.digest, descriptor.size, name=f"{self.name}: {path}")
        return cast("BinaryIO", reader)

    def close(self) -> None:
        self._tar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entries(self) -> list[dict[str, Any]]:
        data = self._tar.read("manifest.json", limit=MAX_LIST)
        document = strictjson.loads(b'{"images":' + data + b"}", limit=MAX_LIST + 16, what=f"{self.name}/manifest.json")
        return fields.objects(document, "images", f"{self.name}/manifest.json")

    def _image(self, entry: dict[str, Any]) -> Saved:
        where = f"{self.name}/manifest.json"
        config_path = fields.text(entry, "Config", where, required=True)
        config = image.ImageConfig.from_bytes(
            self._tar.read(config_path, limit=image.MAX_CONFIG), name=f"{self.name}/{config_path}"
        )
        paths = fields.texts(entry, "Layers", where)
        if len(paths) != len(config.diff_ids):
            raise errors.ImageInvalid(
                f"{where} lists {len(paths)} layers, but the config {len(config.diff_ids)} diffIDs"
            )
        layers = tuple(self._layer(path, diff_id) for path, diff_id in zip(paths, config.diff_ids, strict=True))
        names = tuple(Reference.parse(name) for name in fields.texts(entry, "RepoTags", where) if "<none>" not in name)
        return Saved(image.Image(config, layers), names)

    def _layer(self, path: str, diff_id: digests.Digest) -> image.LayerRef:
        with self._tar.open(path) as reader:
            start = reader.read(4)
        compression = next((name for magic, name in _MAGIC if start.startswith(magic)), "")
        with self._tar.open(path) as reader:
            digest, size = digests.of_stream(reader)
        if not compression and digest != diff_id:
            raise errors.DigestMismatch(f"{self.name}: {path} has digest {digest}, but the config says {diff_id}")
        self._paths[digest] = path
        return image.LayerRef(image.Descriptor(mediatypes.layer_of(compression), digest, size), diff_id)


def _docker_entry(saved: Saved) -> dict[str, Any]:
    def path(digest: digests.Digest) -> str:
        return f"blobs/sha256/{digests.hex_of(digest)}"

    return {
        "Config": path(saved.image.config_descriptor.digest),
        "RepoTags": [name.familiar for name in saved.names] or None,
        "Layers": [path(layer.descriptor.digest) for layer in saved.image.layers],
    }


def _repositories(images: Iterable[Saved]) -> bytes:
    """name -> tag -> the topmost layer; an image without layers has no entry."""
    found: dict[str, dict[str, str]] = {}
    for saved in images:
        for name in saved.names:
            if saved.image.layers and name.tag:
                found.setdefault(name.name, {})[name.tag] = digests.hex_of(saved.image.layers[-1].descriptor.digest)
    return strictjson.dumps(found)


def _index_entries(saved: Saved) -> Iterable[image.Descriptor]:
    made = saved.image.descriptor
    for name in saved.names:
        notes = {layout.CONTAINERD_NAME: str(name), layout.REF_NAME: name.tag or "latest"}
        yield replace(made, annotations=tuple(sorted(notes.items())))
    if not saved.names:
        yield made


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
