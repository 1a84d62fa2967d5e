"""Manifests and indexes, to and from bytes (image-spec, manifest.md and image-index.md; Docker's schema 2 and lists
read alike). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from strata_builder.frozen import frozen
from strata_builder.oci import digest, errors, fields, mediatypes, platform, strictjson
from strata_builder.oci.descriptor import Descriptor

MAX_MANIFEST: Final = 4 << 20  # bytes; what registries accept at most (distribution-spec, "Pushing Manifests")
MAX_LAYERS: Final = 1024


@frozen
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = mediatypes.OCI_MANIFEST
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    def to_bytes(self) -> bytes:
        optional: dict[str, Any] = {
            "annotations": dict(self.annotations),
            "subject": self.subject and self.subject.to_json(),
            "artifactType": self.artifact_type,
        }
        return strictjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
            }
            | {k: v for k, v in optional.items() if v}
        )

    @property
    def is_image(self) -> bool:
        """False for an artifact: a chart, a signature, a cache."""
        return self.config.media_type in (mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG)


@frozen
class Index:
    manifests: tuple[Descriptor, ...]
    media_type: str = mediatypes.OCI_INDEX
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    def to_bytes(self) -> bytes:
        optional: dict[str, Any] = {
            "annotations": dict(self.annotations),
            "subject": self.subject and self.subject.to_json(),
            "artifactType": self.artifact_type,
        }
        return strictjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "manifests": [child.to_json() for child in self.manifests],
            }
            | {k: v for k, v in optional.items() if v}
        )

    def platforms(self) -> tuple[platform.Platform, ...]:
        """Of the images in it; attestations, which pose as unknown/unknown, are none."""
        return tuple(child.platform for child in self.manifests if child.platform and child.platform.os != "unknown")

    def select(self, wanted: platform.Platform, *, name: str = "the index") -> Descriptor:
        """The child for `wanted`, perhaps a further index; of equals the first. One without a platform comes last: its
        config says what it is for. Raises PlatformMissing that lists what there is."""
        images = [child for child in self.manifests if child.media_type in mediatypes.MANIFESTS | mediatypes.INDEXES]
        found = platform.best(wanted, (child.platform for child in images if child.platform))
        for child in images:
            if child.platform == found:
                return child
        raise missing(wanted, self.platforms(), name)


def missing(
    wanted: platform.Platform, offered: Iterable[platform.Platform], name: str = "the index"
) -> errors.PlatformMissing:
    """The error of an image that is for other platforms."""
    there = [shown if shown.isprintable() else repr(shown) for shown in sorted({str(each) for each in offered})]
    hint = f"use an image for {wanted}" + (
        f", or build for another platform: --platform={there[0][:100]}" if there else ""
    )
    listed = ", ".join(there)[:1000] or "no platform at all"
    return errors.PlatformMissing(f"{name} has no image for {wanted}; it offers {listed}", hint=hint)


def parse(data: bytes, media_type: str = "", *, name: str = "manifest") -> Manifest | Index:
    """What `data` is. `media_type` is what the registry or the descriptor said; it must agree with the document.

    Raises ImageInvalid naming `name`.
    """
    if media_type.startswith("text/"):
        raise errors.ImageInvalid(
            f"{name}: {media_type[:100]} was answered where a manifest is expected",
            hint="check that the host in the name is a registry, and that no page (a login, a proxy's) stands before it",
        )
    document = strictjson.loads(data, limit=MAX_MANIFEST, what=name)
    kind = _kind(document, media_type, name)
    if kind in mediatypes.INDEXES:
        return _index(document, kind, name)
    return _manifest(document, kind, name)


def parse_manifest(data: bytes, media_type: str = "", *, name: str = "manifest") -> Manifest:
    found = parse(data, media_type, name=name)
    if isinstance(found, Index):
        raise errors.ImageInvalid(f"{name} is an index, but a manifest was expected")
    return found


def parse_index(data: bytes, media_type: str = "", *, name: str = "index") -> Index:
    found = parse(data, media_type, name=name)
    if isinstance(found, Manifest):
        raise errors.ImageInvalid(f"{name} is a manifest, but an index was expected")
    return found


def _kind(document: dict[str, Any], declared: str, name: str) -> str:
    declared = declared.partition(";")[0].strip().lower()
    inside = fields.text(document, "mediaType", name)
    if declared in mediatypes.SCHEMA1 or document.get("schemaVersion") == 1:
        raise errors.ImageInvalid(
            f"{name} is in Docker's schema 1, which is no longer supported",
            hint="pull and push the image again with a current client, or use a newer tag",
        )
    if document.get("schemaVersion") != 2:
        raise errors.ImageInvalid(f"{name}: schemaVersion must be 2, not {document.get('schemaVersion')!r:.20}")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise errors.ImageInvalid(
            f"{name} is both an index and a manifest; it is refused because readers would disagree on what it holds"
        )
    known = mediatypes.INDEXES | mediatypes.MANIFESTS
    if declared in known and inside and inside != declared:
        raise errors.ImageInvalid(f"{name} was announced as {declared} but says it is {inside[:100]}")
    found = inside or (declared if declared in known else _guess(document))
    if found not in known:
        raise errors.ImageInvalid(
            f"{name} has the unknown media type {found[:100]!r}",
            hint="name an image: its manifest is one of OCI's, or of Docker's schema 2",
        )
    if (found in mediatypes.INDEXES) != ("manifests" in document):
        raise errors.ImageInvalid(f"{name} says it is {found} but does not have its fields")
    return found


def _guess(document: dict[str, Any]) -> str:
    return mediatypes.OCI_INDEX if "manifests" in document else mediatypes.OCI_MANIFEST


def _index(document: dict[str, Any], kind: str, name: str) -> Index:
    children = fields.objects(document, "manifests", name)
    return Index(
        tuple(Descriptor.from_json(child, f"{name}: manifests[{n}]") for n, child in enumerate(children)),
        kind,
        fields.pairs(document, "annotations", name),
        _subject(document, name),
        fields.text(document, "artifactType", name),
    )


def _manifest(document: dict[str, Any], kind: str, name: str) -> Manifest:
    layers = fields.objects(document, "layers", name)
    if len(layers) > MAX_LAYERS:
        raise errors.ImageInvalid(f"{name} has {len(layers)} layers, more than {MAX_LAYERS}")
    return Manifest(
        Descriptor.from_json(fields.mapping(document, "config", name), f"{name}: config"),
        tuple(Descriptor.from_json(layer, f"{name}: layers[{n}]") for n, layer in enumerate(layers)),
        kind,
        fields.pairs(document, "annotations", name),
        _subject(document, name),
        fields.text(document, "artifactType", name),
    )


def _subject(document: dict[str, Any], name: str) -> Descriptor | None:
    data = fields.mapping(document, "subject", name)
    return Descriptor.from_json(data, f"{name}: subject") if data else None


def digest_of(value: Manifest | Index) -> digest.Digest:
    return digest.of(value.to_bytes())
