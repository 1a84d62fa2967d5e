"""From a name to the image of one platform: manifest and config, no layer. Mirrors are asked first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from strata_builder import errors as build_errors
from strata_builder.frozen import frozen, replace
from strata_builder.oci import digest as digests
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import image as images
from strata_builder.oci import manifest as manifests
from strata_builder.oci import mediatypes
from strata_builder.oci import platform as platforms
from strata_builder.oci.reference import Reference
from strata_builder.registry import errors

if TYPE_CHECKING:
    from strata_builder.registry.client import Registry
    from strata_builder.registry.manifests import ManifestBytes
    from strata_builder.registry.registries import Registries

#: A mirror that answers so is passed over; only the upstream's own word counts.
_ASK_NEXT = (errors.RegistryError, oci_errors.PlatformMissing, oci_errors.ImageInvalid)
#: What a mirror says that was reached and does not have what is asked for.
_LACKS = (errors.NotFound, oci_errors.PlatformMissing)
#: How many indexes may name one another before a manifest comes.
_DEPTH: Final = 4


@frozen
class ResolvedImage:
    """What `reference` names for a platform. `registry` and `repository` are where it was found, perhaps a mirror:
    layers come from there, and what it does not give from the places `behind` it, of which the upstream is the last.

    `index_digest` is None if the name stands for a manifest itself. `platform` is what the config says, or else what
    was asked for.
    """

    reference: Reference
    index_digest: digests.Digest | None
    manifest_digest: digests.Digest
    manifest: manifests.Manifest
    config: images.ImageConfig
    platform: platforms.Platform
    registry: Registry
    repository: str
    manifest_bytes: bytes = b""
    behind: tuple[tuple[Registry, str], ...] = ()

    @property
    def image(self) -> images.Image:
        """As a base to build on. Raises ImageInvalid for an artifact."""
        return images.Image.of(self.manifest, self.config, name=self.reference.familiar)

    def open(self, layer: images.Descriptor) -> BinaryIO:
        """A verified reader of one of its layers, as stored. Raises the upstream's answer, save that a mirror which has
        the image and is down is waited for."""
        passed: list[tuple[Registry, errors.RegistryError]] = []
        for registry, repository in ((self.registry, self.repository), *self.behind):
            try:
                return registry.blob(repository, layer.digest, layer.size)
            except errors.RegistryError as e:
                passed.append((registry, e))
        *mirrored, (_, upstream) = passed
        failure = next((said for _, said in mirrored if said.retryable), upstream)
        failure.message = _with_mirrors(upstream, mirrored)
        raise failure


def resolve_image(reference: Reference, platform: platforms.Platform, registries: Registries) -> ResolvedImage:
    """Raises NotFound, Unauthorized, Denied, PlatformMissing, ImageInvalid, Unavailable: the upstream's answer, with
    what mirrors said; Unconfirmed where a mirror lacks the image and the upstream cannot be asked."""
    *mirrored, upstream = registries.sources(reference.host, reference.repository)
    passed: list[tuple[Registry, build_errors.BuildError]] = []
    for number, (registry, repository) in enumerate(mirrored, start=1):
        try:
            found = _resolve(reference, platform, registry, repository)
            return replace(found, behind=(*mirrored[number:], upstream))
        except _ASK_NEXT as e:
            passed.append((registry, e))
    try:
        return _resolve(reference, platform, *upstream)
    except errors.Unavailable as e:
        lacking = [registry.host for registry, said in passed if isinstance(said, _LACKS)]
        if lacking:
            raise _unconfirmed(reference, lacking, _with_mirrors(e, passed)) from e
        e.message = _with_mirrors(e, passed)
        raise
    except _ASK_NEXT as e:
        e.message = _with_mirrors(e, passed)
        raise


def _with_mirrors(upstream: build_errors.BuildError, passed: Sequence[tuple[Registry, build_errors.BuildError]]) -> str:
    return "; ".join([upstream.message, *(f"mirror {registry.host}: {said.message}" for registry, said in passed)])


def _unconfirmed(reference: Reference, lacking: Sequence[str], said: str) -> errors.Unconfirmed:
    """The absence at a mirror may be an outage of its own way to the upstream, so it is no proof."""
    mirrors, upstream = " and ".join(lacking), reference.host
    return errors.Unconfirmed(
        f"not found at the mirror {mirrors}, and {upstream} itself cannot be asked: {said}",
        host=upstream,
        repository=reference.repository,
        hint=f"check the name {reference.familiar}; if it is right, bring the image to {mirrors}, or let the mirror or "
        f"this machine reach {upstream}",
    )


def _resolve(reference: Reference, platform: platforms.Platform, registry: Registry, repository: str) -> ResolvedImage:
    name = reference.familiar
    top = found = registry.manifest(repository, reference.version)
    document = manifests.parse(found.data, found.media_type, name=name)
    child = None
    with _parts():
        for _ in range(_DEPTH):
            if isinstance(document, manifests.Manifest):
                break
            child = document.select(platform, name=name)
            found = registry.manifest(repository, child.digest)
            document = manifests.parse(found.data, child.media_type, name=f"{name} for {platform}")
        if isinstance(document, manifests.Index):
            raise oci_errors.ImageInvalid(f"{name}: its indexes are nested more than {_DEPTH} levels deep")
        config = _config(document, found, registry, repository, name)
    if child is not None and child.platform is None and config.os and not config.platform.matches(platform):
        raise manifests.missing(platform, [config.platform], name)
    return ResolvedImage(
        reference,
        None if child is None else top.digest,
        found.digest,
        document,
        config,
        config.platform if config.os else platform,
        registry,
        repository,
        found.data,
    )


@contextlib.contextmanager
def _parts() -> Iterator[None]:
    """What an image names and its registry does not have is no misspelt name."""
    try:
        yield
    except errors.NotFound as e:
        e.message = f"the image is incomplete: {e.message}"
        e.hint = f"push all of it to {e.host} again, or use another one"
        raise


def _config(
    document: manifests.Manifest, found: ManifestBytes, registry: Registry, repository: str, name: str
) -> images.ImageConfig:
    if not document.is_image:
        raise oci_errors.ImageInvalid(
            f"{name} is not an image but an artifact of type {document.artifact_type or document.config.media_type}",
            hint="name an image in its place",
        )
    if document.media_type == mediatypes.OCI_MANIFEST and not document.config.size:
        raise oci_errors.ImageInvalid(f"{name} ({found.digest}) has an empty config")
    data = registry.blob_bytes(repository, document.config, limit=images.MAX_CONFIG)
    return images.ImageConfig.from_bytes(data, name=f"{name}: config")
