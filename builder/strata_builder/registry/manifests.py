"""A manifest's way to a registry and back, by tag or digest: exactly the bytes that are stored, verified."""

from __future__ import annotations

from typing import Final, NamedTuple

from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci import manifest as manifests
from strata_builder.oci import mediatypes
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry import errors
from strata_builder.registry.session import Call, Session, scope, warnings_of
from strata_builder.registry.transport import Response

_TAG_FIXED: Final = frozenset({400, 403, 409, 412})


class ManifestBytes(NamedTuple):
    """A manifest exactly as stored; `digest` is that of `data`."""

    data: bytes
    media_type: str
    digest: digests.Digest


@frozen
class PutResult:
    """`subject` is the digest that the registry linked as a referrer ("" = the fallback tag must be kept); `warnings`
    are for people."""

    digest: digests.Digest
    subject: str = ""
    warnings: tuple[str, ...] = ()


def head(session: Session, repository: str, version: str) -> Descriptor | None:
    """What a tag or digest names, by HEAD; None if there is none. A registry that leaves the digest out is asked by
    GET."""
    try:
        response = session.call(_reading("HEAD", repository, version))
    except errors.NotFound:
        return None
    response.close()
    digest, size = response.header("docker-content-digest"), response.length
    media_type = _media_type(response)
    if digests.is_digest(digest) and size is not None and media_type in mediatypes.ACCEPT:
        return Descriptor(media_type, digest, size)
    found = get(session, repository, version)
    return Descriptor(found.media_type, found.digest, len(found.data))


def get(session: Session, repository: str, version: str) -> ManifestBytes:
    """A manifest or index, verified against the digest asked for and the one that the registry states.

    Raises NotFound, DigestMismatch, and ProtocolError if it is larger than a manifest may be.
    """
    response = session.call(_reading("GET", repository, version))
    stated = response.header("docker-content-digest")
    media_type = _media_type(response)
    data = session.limited(response, manifests.MAX_MANIFEST, f"manifest {repository}:{version}")
    actual = digests.of(data)
    for expected in (version if digests.is_digest(version) else "", stated):
        if expected and expected != actual:
            message = (
                f"manifest {version} of {session.host}/{repository} should have digest {expected} but has {actual}"
            )
            raise errors.DigestMismatch(message, host=session.host, repository=repository, method="GET")
    return ManifestBytes(data, media_type, actual)


def put(session: Session, repository: str, version: str, data: bytes, media_type: str) -> PutResult:
    """Stores exactly `data`. Raises BlobsUnknown with the digests that the registry lacks, TagImmutable."""
    if len(data) > manifests.MAX_MANIFEST:
        message = f"the manifest has {len(data)} bytes, more than a registry takes ({manifests.MAX_MANIFEST})"
        raise errors.TooLarge(message, host=session.host)
    digest = digests.of(data)
    try:
        response = session.call(_putting(repository, version, data, media_type))
    except errors.RegistryError as e:
        fixed = e.status in _TAG_FIXED and not digests.is_digest(version)
        if fixed and _has_same(session, repository, version, digest):
            return PutResult(digest)
        raise
    response.read_all(errors.MAX_BODY)
    stated = response.header("docker-content-digest")
    if stated and stated != digest:
        message = f"{session.host}/{repository} stored manifest {digest} as {stated}"
        raise errors.DigestMismatch(message, host=session.host, repository=repository, method="PUT")
    return PutResult(digest, response.header("oci-subject"), warnings_of(response))


def delete(session: Session, repository: str, version: str) -> bool:
    """False if it was not there. By digest this removes every tag that names it."""
    doing, asked = f"delete manifest {version}", (scope(repository, "delete"),)
    call = Call("DELETE", _path(repository, version), doing, repository, asked, (200, 202, 204))
    try:
        session.call(call).read_all(errors.MAX_BODY)
    except errors.NotFound:
        return False
    return True


def _path(repository: str, version: str) -> str:
    return f"/v2/{repository}/manifests/{version}"


def _reading(method: str, repository: str, version: str) -> Call:
    accept = (("Accept", ", ".join(mediatypes.ACCEPT)),)
    doing = f"pull manifest {repository}{'@' if digests.is_digest(version) else ':'}{version}"
    asked = (scope(repository, "pull"),)
    return Call(method, _path(repository, version), doing, repository, asked, headers=accept)


def _putting(repository: str, version: str, data: bytes, media_type: str) -> Call:
    asked, headers = (scope(repository, "pull,push"),), (("Content-Type", media_type),)
    return Call(
        "PUT", _path(repository, version), f"push manifest {version}", repository, asked, (201, 202), headers, data
    )


def _has_same(session: Session, repository: str, tag: str, digest: digests.Digest) -> bool:
    found = head(session, repository, tag)
    return found is not None and found.digest == digest


def _media_type(response: Response) -> str:
    return response.header("content-type").partition(";")[0].strip()
