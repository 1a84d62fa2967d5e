"""What a registry can answer, or fail to answer. Pure.

::

    BuildError
     +- CredentialsInvalid         a docker config or helper that cannot be read; never pushed anonymously instead
     +- RegistryError              status, code, host, repository, method, url (without secrets)
         +- Unauthorized           401: no credentials, or wrong ones
         +- Denied                 403, or 401 insufficient_scope: known, but not allowed
         +- NotFound               404: no such repository, manifest or blob
         +- UploadUnknown          404 of an upload session: begin again
         +- BlobsUnknown           a manifest names blobs that the registry lacks (`digests`)
         +- DigestRejected         400 DIGEST_INVALID or SIZE_INVALID of an upload
         +- TagImmutable
         +- TooLarge               413
         +- Rejected               any other answer that a repetition would not change
         +- ProtocolError          an answer outside the specification
         +- DigestMismatch         content that is not what was asked for
         +- AddressRefused         the address filter forbids to connect
         +- TlsFailed              a certificate that is not trusted
         +- Unavailable            retried: 429, 5xx, no connection
             +- ReadOnly           405 of a write: the registry is under maintenance
             +- Unconfirmed        a mirror lacks it, and its upstream, which would know, cannot be asked

Which class an answer becomes, and whether a repetition may help, is decided by the tables below and nowhere else.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from strata_builder import errors
from strata_builder.oci import digest as digests
from strata_builder.oci import errors as oci_errors

MAX_BODY: Final = 64 << 10  # bytes of an error body that are looked at
_SHOWN: Final = 256  # characters of it that are shown


class CredentialsInvalid(errors.BuildError):
    reason = "InvalidSpec"


class RegistryError(errors.BuildError):
    """`url` has neither query nor user info. `code` is the registry's own (`MANIFEST_UNKNOWN`), empty if it gave
    none."""

    reason = "RegistryUnavailable"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        host: str = "",
        repository: str = "",
        method: str = "",
        url: str = "",
        hint: str = "",
        retry_after: float | None = None,
        digests: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.host = host
        self.repository = repository
        self.method = method
        self.url = url
        self.retry_after = retry_after
        self.digests = digests


class Unauthorized(RegistryError):
    reason: ClassVar[str] = "PushDenied"


class Denied(RegistryError):
    reason = "PushDenied"


class NotFound(RegistryError):
    reason = "BaseImageNotFound"


class UploadUnknown(RegistryError):
    pass


class BlobsUnknown(RegistryError):
    reason = "InfrastructureFailed"
    retryable = True


class DigestRejected(RegistryError):
    retryable = True


class TagImmutable(RegistryError):
    reason = "PushDenied"


class TooLarge(RegistryError):
    reason = "PushDenied"


class Rejected(RegistryError):
    reason = "PushDenied"


class ProtocolError(RegistryError):
    pass


class DigestMismatch(RegistryError, oci_errors.DigestMismatch):
    retryable = True
    reason = "InfrastructureFailed"


class AddressRefused(RegistryError):
    reason = "InvalidSpec"


class TlsFailed(RegistryError):
    pass


class Unavailable(RegistryError):
    retryable = True


class ReadOnly(Unavailable):
    pass


class Unconfirmed(Unavailable):
    pass


#: By the registry's own code first, because several codes share a status.
BY_CODE: Final[dict[str, type[RegistryError]]] = {
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Denied,
    "NAME_UNKNOWN": NotFound,
    "MANIFEST_UNKNOWN": NotFound,
    "BLOB_UNKNOWN": NotFound,
    "BLOB_UPLOAD_UNKNOWN": UploadUnknown,
    "BLOB_UPLOAD_INVALID": UploadUnknown,
    "RANGE_INVALID": UploadUnknown,
    "DIGEST_INVALID": DigestRejected,
    "SIZE_INVALID": DigestRejected,
    "MANIFEST_BLOB_UNKNOWN": BlobsUnknown,
    "TAG_INVALID": TagImmutable,
    "TOOMANYREQUESTS": Unavailable,
    "UNAVAILABLE": Unavailable,
}
BY_STATUS: Final[dict[int, type[RegistryError]]] = {
    401: Unauthorized,
    403: Denied,
    404: NotFound,
    408: Unavailable,
    409: TagImmutable,
    412: TagImmutable,
    413: TooLarge,
    416: UploadUnknown,
    425: Unavailable,
    429: Unavailable,
    500: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def of_answer(
    method: str,
    status: int,
    body: bytes,
    *,
    host: str,
    repository: str,
    url: str,
    doing: str,
    challenge_error: str = "",
    retry_after: float | None = None,
) -> RegistryError:
    """The error that an answer means. `body` may be JSON, HTML, text or nothing; `doing` says what was tried ("push
    blob sha256:...")."""
    entries = entries_of(body)
    code = entries[0][0] if entries else ""
    kind = _kind(method, status, code, bool(entries), challenge_error)
    said = "; ".join(filter(None, (text for _, text, _ in entries))) or _plain_text(body)
    where = f"{host}/{repository}" if repository else host
    message = f"{doing}: {where} answered {status}{f' {code}' if code else ''}{f': {said}' if said else ''}"
    lost = tuple(d for _, _, detail in entries for d in _digests(detail)) if kind is BlobsUnknown else ()
    return kind(
        message,
        status=status,
        code=code,
        host=host,
        repository=repository,
        method=method,
        url=url,
        hint=hint_for(kind, host),
        retry_after=retry_after,
        digests=lost,
    )


def hint_for(kind: type[RegistryError], host: str) -> str:
    """What to type next."""
    if issubclass(kind, Unauthorized):
        return f"check user and password: `docker login {host}`, or the key {host!r} in the Secret's .dockerconfigjson"
    if issubclass(kind, Denied):
        return f"grant the account access at {host}, or use another one: `docker login {host}`, or the Secret"
    hints = {
        TooLarge: "raise the body size limit of the proxy before the registry (nginx: client_max_body_size 0)",
        ReadOnly: "the registry is read only, perhaps while it is being cleaned; the push is tried again later",
        TagImmutable: "the tag exists and may not be moved: choose another tag",
    }
    return hints.get(kind, "")


def entries_of(body: bytes) -> list[tuple[str, str, Any]]:
    """(code, message, detail) of each error in `body`; empty if it is not the JSON that the specification describes."""
    try:
        found = json.loads(body[:MAX_BODY])
        items = found.get("errors")
    except (ValueError, AttributeError, RecursionError):
        return []
    items = items if isinstance(items, list) else []
    return [
        (clean(_said(e, "code"))[:64].upper(), clean(_said(e, "message")), e.get("detail"))
        for e in items[:100]
        if isinstance(e, dict)
    ]


def _said(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def clean(text: str) -> str:
    """One printable line of bounded length: a registry's words go into logs and status."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: _SHOWN * 4]).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _kind(method: str, status: int, code: str, is_json: bool, challenge_error: str) -> type[RegistryError]:
    if status == 405 and method in WRITES and not is_json:
        return ReadOnly
    if status == 401 and challenge_error == "insufficient_scope":
        return Denied
    if status >= 500:
        return BY_STATUS.get(status, Rejected)
    return BY_CODE.get(code) or BY_STATUS.get(status, Rejected)


def _plain_text(body: bytes) -> str:
    text = body[:MAX_BODY].decode("utf-8", "replace").strip()
    return "" if text.startswith(("<", "{")) or "\ufffd" in text else clean(text)


def _digests(detail: Any) -> list[str]:
    """distribution: `{"digest": "sha256:..."}`; others give the digest itself or a list of either."""
    found = [item.get("digest") or item.get("Digest") if isinstance(item, dict) else item for item in _list(detail)]
    return [item for item in found if isinstance(item, str) and digests.is_digest(item)]


def _list(detail: Any) -> list[Any]:
    return detail if isinstance(detail, list) else [detail]
