"""A descriptor: what a blob is, and the digest and size by which it is checked (image-spec, descriptor.md). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strata_builder.frozen import frozen
from strata_builder.oci import digest, fields, platform

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Descriptor:
    """`size` in bytes; `annotations` as sorted pairs; `urls` are other places of the content, never followed."""

    media_type: str
    digest: digest.Digest
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    platform: platform.Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any], path: str) -> Descriptor:
        """Raises ImageInvalid naming `path`."""
        return cls(
            media_type=fields.text(data, "mediaType", path, required=True),
            digest=digest.parse_digest(data.get("digest"), what=f"{path}: digest"),
            size=fields.size(data, "size", path),
            annotations=fields.pairs(data, "annotations", path),
            platform=_platform(fields.mapping(data, "platform", path), f"{path}.platform"),
            urls=fields.texts(data, "urls", path),
            artifact_type=fields.text(data, "artifactType", path),
        )

    def to_json(self) -> dict[str, Any]:
        optional: dict[str, Any] = {
            "annotations": dict(self.annotations),
            "platform": _platform_json(self.platform),
            "urls": list(self.urls),
            "artifactType": self.artifact_type,
        }
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size} | {
            k: v for k, v in optional.items() if v
        }

    def annotation(self, key: str) -> str:
        return dict(self.annotations).get(key, "")


def describe(data: bytes, media_type: str) -> Descriptor:
    """The descriptor of `data` itself."""
    return Descriptor(media_type, digest.of(data), len(data))


def _platform(data: Mapping[str, Any], path: str) -> platform.Platform | None:
    if not data:
        return None
    parts = [fields.text(data, key, path) for key in ("os", "architecture", "variant")]
    return platform.normalise(*parts)


def _platform_json(value: platform.Platform | None) -> dict[str, str]:
    if value is None:
        return {}
    return {"os": value.os, "architecture": value.architecture} | ({"variant": value.variant} if value.variant else {})
