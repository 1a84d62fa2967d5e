"""Media types of OCI (image-spec, media-types.md) and of Docker's schema 2, and how the two families correspond.
Pure."""

from __future__ import annotations

import enum
from typing import Final

from strata_builder.oci import errors

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_FOREIGN: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
OCI_FOREIGN_ZSTD: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_GZIP: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

SCHEMA1: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
#: What a client must say it accepts: without it a registry answers 404 for an OCI manifest that is there.
ACCEPT: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)


class Family(enum.Enum):
    OCI = "OCI"
    DOCKER = "Docker"


_PAIRS: Final = (
    (OCI_INDEX, DOCKER_INDEX),
    (OCI_MANIFEST, DOCKER_MANIFEST),
    (OCI_CONFIG, DOCKER_CONFIG),
    (OCI_LAYER, DOCKER_LAYER),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    (OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD),
    (OCI_FOREIGN_GZIP, DOCKER_FOREIGN_GZIP),
)
_TO_DOCKER: Final = dict(_PAIRS)
_TO_OCI: Final = {docker: oci for oci, docker in _PAIRS}

_COMPRESSION: Final = {
    OCI_LAYER: "",
    OCI_FOREIGN: "",
    DOCKER_LAYER: "",
    OCI_LAYER_GZIP: "gzip",
    OCI_FOREIGN_GZIP: "gzip",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_FOREIGN_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    OCI_FOREIGN_ZSTD: "zstd",
    DOCKER_LAYER_ZSTD: "zstd",
}
_FOREIGN: Final = frozenset({OCI_FOREIGN, OCI_FOREIGN_GZIP, OCI_FOREIGN_ZSTD, DOCKER_FOREIGN_GZIP})


def family_of(media_type: str) -> Family | None:
    """None for what belongs to neither (an artifact's own type)."""
    if media_type in _TO_OCI:
        return Family.DOCKER
    return Family.OCI if media_type in _TO_DOCKER or media_type in _FOREIGN or media_type == OCI_EMPTY else None


def convert(media_type: str, family: Family) -> str:
    """The type that means the same bytes in `family`; an image must not mix the two."""
    return (_TO_DOCKER if family is Family.DOCKER else _TO_OCI).get(media_type, media_type)


def is_layer(media_type: str) -> bool:
    return media_type in _COMPRESSION


def is_foreign(media_type: str) -> bool:
    """True for a layer that a registry may refuse to store (Windows base layers)."""
    return media_type in _FOREIGN


def compression_of(media_type: str) -> str:
    """ "" (plain tar), "gzip" or "zstd". Raises ImageInvalid for what is no file system layer."""
    if media_type not in _COMPRESSION:
        raise errors.ImageInvalid(
            f"{media_type!r} is not the media type of a file system layer",
            hint="the reference names an artifact (a chart, a signature, ...), not an image",
        )
    return _COMPRESSION[media_type]


def layer_of(compression: str) -> str:
    """The OCI layer type for "", "gzip" or "zstd"."""
    return {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}[compression]
