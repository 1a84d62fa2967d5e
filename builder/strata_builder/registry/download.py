"""A blob's way down: a reader that goes on after a broken connection, below one that verifies digest and size."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from strata_builder.oci import digest as digests
from strata_builder.registry import errors
from strata_builder.registry.session import Call, Session, scope
from strata_builder.registry.transport import Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(?:\d{1,19}|\*)")


def open_blob(session: Session, repository: str, digest: digests.Digest, size: int) -> BinaryIO:
    """A reader of exactly the `size` bytes with `digest`; reading raises RegistryError. The first answer is awaited
    here, so a blob that is not there is an error of this call."""
    mismatch = _mismatch_of(session.host, repository)
    if size == 0:
        digests.Verifier(io.BytesIO(), digest, 0, mismatch=mismatch).read()
        return io.BytesIO()
    source = _Resuming(session, repository, digest, size)
    name = f"blob of {session.host}/{repository}"
    verifier = digests.Verifier(cast("BinaryIO", source), digest, size, name=name, mismatch=mismatch)
    return cast("BinaryIO", verifier)


def _mismatch_of(host: str, repository: str) -> Callable[[str], errors.DigestMismatch]:
    def make(message: str) -> errors.DigestMismatch:
        return errors.DigestMismatch(
            message,
            host=host,
            repository=repository,
            method="GET",
            hint=f"the content stored at {host} may be damaged: push the image there again",
        )

    return make


class _Resuming(io.RawIOBase):
    """The blob's bytes in order, whatever happens to connections. A wait is spent only on failures without progress in
    between."""

    def __init__(self, session: Session, repository: str, digest: digests.Digest, size: int) -> None:
        super().__init__()
        self._session = session
        self._digest = digest
        self._repository = repository
        self._size = size
        self._offset = 0
        self._failures = 0
        self._response: Response | None = session.policy.run(self._open)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while True:
            try:
                if self._response is None:
                    self._response = self._open()
                count = self._response.readinto(buffer)
            except errors.Unavailable as e:
                self._drop()
                if self._offset == self._size:
                    return 0  # all is here; it was only the end of the answer that got lost
                self._failures += 1
                self._session.policy.wait(self._failures, e)
                continue
            if count:
                self._offset += count
                self._failures = 0
            return count

    def _open(self) -> Response:
        ranged = (("Range", f"bytes={self._offset}-"),) if self._offset else ()
        response = self._session.once(
            Call(
                "GET",
                f"/v2/{self._repository}/blobs/{self._digest}",
                f"pull blob {self._digest}",
                self._repository,
                (scope(self._repository, "pull"),),
                (200, 206) if ranged else (200,),
                ranged,
            )
        )
        try:
            self._position(response)
        except BaseException:
            response.close()
            raise
        return response

    def _position(self, response: Response) -> None:
        """Brings `response` to the next byte wanted: a server may ignore the range and begin at the first."""
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.header("content-range").strip())
            if match is None or int(match[1]) != self._offset:
                raise self._protocol(f"answered another range than the one asked for (from byte {self._offset})")
            return
        if response.length is not None and response.length != self._size:
            raise _mismatch_of(self._session.host, self._repository)(
                f"blob {self._digest} of {self._session.host}/{self._repository} should have {self._size} bytes,"
                f" but the registry gives {response.length}"
            )
        left = self._offset
        while left:
            chunk = response.read(min(left, 1 << 20))
            if not chunk:
                raise self._protocol("gave fewer bytes than before")
            left -= len(chunk)

    def _protocol(self, what: str) -> errors.ProtocolError:
        host = self._session.host
        return errors.ProtocolError(
            f"pull blob {self._digest}: {host} {what}", host=host, repository=self._repository, method="GET"
        )

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        self._drop()
        super().close()
