"""A blob's way up: mount, or POST then one PUT of the whole body. Any failure in between begins anew, never in the
middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final, cast

from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry import addresses, errors
from strata_builder.registry.messages import Body
from strata_builder.registry.session import Call, Session, scope
from strata_builder.registry.transport import Response

#: Failures that leave the session dead or its fate unknown; all of them begin again with a new one.
_BEGIN_AGAIN: Final = (errors.Unavailable, errors.UploadUnknown, errors.DigestRejected)


@frozen
class Started:
    """Either the blob is already there (`mounted`), or `location` takes it."""

    location: str = ""
    mounted: bool = False


def exists(session: Session, repository: str, digest: digests.Digest, size: int | None = None) -> bool:
    """HEAD of the blob. With `size`, an answer of another Content-Length counts as absent."""
    call = Call(
        "HEAD",
        f"/v2/{repository}/blobs/{digest}",
        f"look for blob {digest}",
        repository,
        _pushing(repository),
        (200, 404),
    )
    try:
        response = session.call(call)
    except errors.NotFound:
        return False
    response.close()
    return response.status == 200 and (size is None or response.length in (None, size))


def upload(
    session: Session,
    repository: str,
    descriptor: Descriptor,
    open_: Callable[[], BinaryIO],
    *,
    started: Started | None = None,
) -> None:
    """Puts the blob there. `open_` gives a new reader at the first byte for every try; what it gives is verified while
    it is sent.

    Raises DigestMismatch if the source is not what `descriptor` says, RegistryError if the registry does not take it.
    """
    tried = 0
    while True:
        try:
            begun = started or start(session, repository)
            _put(session, repository, descriptor, open_, begun.location)
        except _BEGIN_AGAIN as e:
            started = None
            tried += 1
            if exists(session, repository, descriptor.digest, descriptor.size):
                return  # the answer was lost, not the blob
            session.policy.wait(tried, _retryable(e))
        else:
            return


def start(session: Session, repository: str, *, mount: digests.Digest = "", source: str = "") -> Started:
    """Opens an upload session, or mounts blob `mount` from the repository `source` of the same registry."""
    if not mount:
        call = _post(repository, f"/v2/{repository}/blobs/uploads/", "start an upload", _pushing(repository))
        return _started(session, session.call(call))
    path = addresses.with_query(
        addresses.with_query(f"/v2/{repository}/blobs/uploads/", "mount", mount), "from", source
    )
    scopes = (*_pushing(repository), scope(source, "pull"))
    try:
        return _started(session, session.once(_post(repository, path, f"mount blob {mount} from {source}", scopes)))
    except errors.RegistryError:  # some know no mount, or hide the source; what is really wrong the plain way will tell
        return start(session, repository)


def cancel(session: Session, repository: str, location: str) -> None:
    """Gives up an upload session. The registry would drop it in time anyway, so a refusal is no failure."""
    call = Call("DELETE", location, "cancel an upload", repository, _pushing(repository), (200, 202, 204, 404, 405))
    try:
        session.once(call).close()
    except errors.RegistryError:
        return


def _post(repository: str, path: str, doing: str, scopes: tuple[str, ...]) -> Call:
    return Call("POST", path, doing, repository, scopes, (201, 202))


def _started(session: Session, response: Response) -> Started:
    response.read_all(errors.MAX_BODY)
    return Started(mounted=True) if response.status == 201 else Started(session.follow(response))


def _put(
    session: Session, repository: str, descriptor: Descriptor, open_: Callable[[], BinaryIO], location: str
) -> None:
    def verified() -> BinaryIO:
        return cast(
            "BinaryIO",
            digests.Verifier(open_(), descriptor.digest, descriptor.size, name="the blob to push", mismatch=mismatch),
        )

    def mismatch(message: str) -> errors.DigestMismatch:
        return errors.DigestMismatch(message, host=session.host, repository=repository, method="PUT")

    body: bytes | Body = Body(verified, descriptor.size) if descriptor.size else b""
    call = Call(
        "PUT",
        addresses.with_query(location, "digest", descriptor.digest),
        f"push blob {descriptor.digest}",
        repository,
        _pushing(repository),
        (201, 204),
        (("Content-Type", "application/octet-stream"),),
        body,
    )
    session.once(call).read_all(errors.MAX_BODY)


def _retryable(error: errors.RegistryError) -> errors.RegistryError:
    """A lost session is worth another try, though its status alone (404) is not."""
    if not isinstance(error, errors.UploadUnknown):
        return error
    return errors.Unavailable(
        error.message,
        status=error.status,
        code=error.code,
        host=error.host,
        repository=error.repository,
        method=error.method,
        url=error.url,
        hint=error.hint,
    )


def _pushing(repository: str) -> tuple[str, ...]:
    return (scope(repository, "pull,push"),)
