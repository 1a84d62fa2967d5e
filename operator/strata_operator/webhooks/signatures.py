"""Who has signed a delivery: every way in which the forges prove that they know the token. Pure.

================================ ========================================================= =======================
header                           value                                                     sent by
================================ ========================================================= =======================
X-Hub-Signature-256              sha256= and the HMAC-SHA256 of the body in hex            GitHub, Gitea, Forgejo
X-Hub-Signature                  the same                                                  Bitbucket, both sorts
X-Gitea-Signature, X-Forgejo-..  the same without sha256=                                  Gitea, Forgejo
X-Gogs-Signature                 the same without sha256=                                  Gogs, Gitea, Forgejo
webhook-signature                v1, and the HMAC-SHA256 of id.timestamp.body in base64    GitLab (signing token)
X-Gitlab-Token                   the token itself                                          GitLab (secret token)
X-Strata-Signature-256           sha256= and the HMAC-SHA256 of the body in hex            anybody
Authorization                    Bearer and the token itself                               anybody
================================ ========================================================= =======================

The first that is right is enough: whoever knows the token can make any of them. All are compared, each in constant
time. Nothing is said about how old a delivery may be: a repeated one only has the source looked at once more.
(docs.github.com "Validating webhook deliveries", docs.gitlab.com "Webhooks", Standard Webhooks 1.0, docs.gitea.com,
forgejo.org and support.atlassian.com "Manage webhooks".)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Final

from strata_operator.notifications import signing

_PREFIXED: Final = ("X-Hub-Signature-256", "X-Hub-Signature", "X-Strata-Signature-256")
_BARE: Final = ("X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature")
_SIGNATURES: Final = 8  # that one webhook-signature may list: keys that are being changed


def knows(token: str, headers: Mapping[str, str]) -> bool:
    """Whether `Authorization` has the token itself: told by the head of a request alone. An empty token proves nothing."""
    expected, given = token.encode(), _bearer(headers)
    return hmac.compare_digest(given, expected) and bool(token)


class Check:
    """Takes a body piece by piece. `headers` must find names in any case. An empty token proves nothing."""

    def __init__(self, token: str, headers: Mapping[str, str]) -> None:
        self._token = token.encode()
        self._headers = headers
        self._body = hmac.new(self._token, digestmod=hashlib.sha256)
        self._standard: hmac.HMAC | None = None  # where it is asked for: hashing everything twice takes its time
        if "webhook-signature" in headers:
            start = self._header("webhook-id") + b"." + self._header("webhook-timestamp") + b"."
            self._standard = hmac.new(_standard_key(token), start, hashlib.sha256)

    def feed(self, piece: bytes) -> None:
        """The next bytes of the body, as they were sent."""
        self._body.update(piece)
        if self._standard is not None:
            self._standard.update(piece)

    def proven(self) -> bool:
        """Whether who sent this knows the token."""
        answers = [hmac.compare_digest(got, expected) for got, expected in self._pairs()]
        return bool(self._token) and any(answers)

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        digest = self._body.hexdigest().encode()
        for name in _PREFIXED:
            yield self._header(name), b"sha256=" + digest
        for name in _BARE:
            yield self._header(name), digest
        yield self._header("X-Gitlab-Token"), self._token
        yield _bearer(self._headers), self._token
        if self._standard is not None:
            standard = b"v1," + base64.b64encode(self._standard.digest())
            for given in self._header("webhook-signature").split()[:_SIGNATURES]:
                yield given, standard

    def _header(self, name: str) -> bytes:
        return _header(self._headers, name)


def _header(headers: Mapping[str, str], name: str) -> bytes:
    return headers.get(name, "").encode("utf-8", "surrogateescape")


def _bearer(headers: Mapping[str, str]) -> bytes:
    scheme, _, given = _header(headers, "Authorization").partition(b" ")
    return given.strip() if scheme.lower() == b"bearer" else b""


def _standard_key(token: str) -> bytes:
    """GitLab's signing token is base64 after whsec_; what is not is taken as it stands."""
    try:
        return signing.key_of(token)
    except ValueError:
        return token.encode()
