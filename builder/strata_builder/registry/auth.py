"""How to be let in: Basic and Bearer as a generator that yields requests and is sent answers (distribution,
docs/spec/auth). No I/O.

A driver sends what `Authenticator.flow` yields; the answer to the last yielded request is the one that counts::

    flow = authenticator.flow(request, scopes)
    request = next(flow)
    while True:
        try:
            request = flow.send(send(request))
        except StopIteration:
            break

A server that grants less than was asked for answers 401 again: that is final, so no flow is longer than three requests.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Final, Protocol
from urllib.parse import urlencode, urlsplit

from strata_builder.frozen import field, frozen, replace
from strata_builder.registry import addresses, challenges, errors, retry
from strata_builder.registry.config import Credential
from strata_builder.registry.messages import Request

MAX_TOKEN_BODY: Final = 1 << 20
_DEFAULT_LIFE: Final = 60.0  # seconds, where the server does not say (distribution, docs/spec/auth/token.md)
_LONGEST_LIFE: Final = 86_400.0
_RENEW_AT: Final = 0.8
_CLIENT: Final = "strata"


class Answer(Protocol):
    """What a flow must know of an answer; `read_all` gives a body of at most so many bytes and ends the answer."""

    @property
    def status(self) -> int: ...
    def headers_of(self, name: str) -> list[str]: ...
    def read_all(self, limit: int) -> bytes: ...


@frozen
class _Token:
    value: str = field(repr=False)
    expires: float


Flow = Generator[Request, Answer, None]


class Authenticator:
    """What is known about getting into one registry. Safe to share between threads.

    `clock` gives seconds, monotonic. `insecure` allows to send a password to a token server over plain HTTP.
    """

    def __init__(
        self, host: str, credential: Credential | None, *, clock: Callable[[], float], insecure: bool = False
    ) -> None:
        self._host = host
        self._credential = credential
        self._clock = clock
        self._insecure = insecure
        self._lock = threading.Lock()
        self._worked = False  # a password that has worked is given a second chance: servers reload their files
        self._challenge: challenges.Challenge | None = None
        self._tokens: dict[frozenset[str], _Token] = {}

    @property
    def anonymous(self) -> bool:
        return self._credential is None

    def flow(self, request: Request, scopes: tuple[str, ...] = ()) -> Flow:
        """The requests that get `request` done. `scopes` as `repository:<name>:<actions>`; only Bearer looks at
        them."""
        known = self._challenge
        header = (yield from self._header(known, scopes, fresh=False)) if known else ""
        answer = yield _authorised(request, header)
        if answer.status != 401:
            self._worked = self._worked or bool(header)
            return
        challenge = self._choose(challenges.parse(answer.headers_of("www-authenticate")))
        if challenge is None or challenge.param("error") == "insufficient_scope":
            return
        if challenge.scheme == "basic" and header and not self._worked:
            return  # the same password again would be refused again
        with self._lock:
            self._challenge = challenge
        retry = yield from self._header(challenge, scopes, fresh=True)
        if retry:
            answer.read_all(errors.MAX_BODY)
            answer = yield _authorised(request, retry)
            self._worked = answer.status != 401

    def _choose(self, offered: tuple[challenges.Challenge, ...]) -> challenges.Challenge | None:
        """Bearer before Basic: it sends the password to fewer places."""
        by_scheme = {challenge.scheme: challenge for challenge in reversed(offered)}
        bearer = by_scheme.get("bearer")
        return bearer if bearer and bearer.param("realm") else by_scheme.get("basic")

    def _header(
        self, challenge: challenges.Challenge, scopes: tuple[str, ...], *, fresh: bool
    ) -> Generator[Request, Answer, str]:
        if challenge.scheme == "basic":
            return basic(self._credential) if self._credential and self._credential.username else ""
        asked = scopes or tuple(filter(None, challenge.param("scope").split(" ")))
        if fresh:  # the registry may want more than the caller knew
            asked = tuple(dict.fromkeys((*asked, *filter(None, challenge.param("scope").split(" ")))))
        cached = None if fresh else self._cached(frozenset(asked))
        token = cached or (yield from self._fetch(challenge, asked, scopes))
        return f"Bearer {token}"

    def _cached(self, asked: frozenset[str]) -> str:
        now = self._clock()
        with self._lock:
            self._tokens = {key: token for key, token in self._tokens.items() if token.expires > now}
            return next((token.value for key, token in self._tokens.items() if asked <= key), "")

    def _fetch(
        self, challenge: challenges.Challenge, asked: tuple[str, ...], scopes: tuple[str, ...]
    ) -> Generator[Request, Answer, str]:
        answer = yield self._token_request(challenge, asked)
        body = answer.read_all(MAX_TOKEN_BODY)
        realm = addresses.redact(challenge.param("realm"))
        if answer.status != 200:
            raise self._refused(answer, body, realm)
        token = self._parse_token(body, realm)
        with self._lock:
            self._tokens[frozenset((*asked, *scopes))] = token
        return token.value

    def _token_request(self, challenge: challenges.Challenge, asked: tuple[str, ...]) -> Request:
        realm = challenge.param("realm")
        origin = addresses.Origin.of(realm)
        if urlsplit(realm).username is not None:
            raise errors.ProtocolError(
                f"the token server that {self._host} names has a user in its URL", host=self._host
            )
        credential = self._credential
        if credential and origin.scheme == "http" and not self._insecure:
            raise errors.ProtocolError(
                f"{self._host} sends its users to {addresses.redact(realm)}, which is not encrypted;"
                " no password was sent",
                host=self._host,
                hint="declare the registry insecure if that is intended",
            )
        service = challenge.param("service")
        query = [("service", service)] if service else []
        if credential and credential.identity_token:
            form = [("grant_type", "refresh_token"), *query, ("client_id", _CLIENT), ("scope", " ".join(asked))]
            data = urlencode([*form, ("refresh_token", credential.identity_token)]).encode()
            return Request("POST", realm, (("Content-Type", "application/x-www-form-urlencoded"),), data, is_token=True)
        query += [("scope", scope) for scope in asked]
        if credential and credential.username:
            query.append(("account", credential.username))
        url = realm + ("&" if "?" in realm else "?") * bool(query) + urlencode(query)
        header = basic(credential) if credential and credential.username else ""
        return _authorised(Request("GET", url, is_token=True), header)

    def _refused(self, answer: Answer, body: bytes, realm: str) -> errors.RegistryError:
        status = answer.status
        kind = errors.BY_STATUS.get(status, errors.Rejected)
        said = "; ".join(filter(None, (text for _, text, _ in errors.entries_of(body))))
        what = f"authentication failed for {self._host}" if status in (400, 401, 403) else f"no token for {self._host}"
        kind = errors.Unauthorized if status == 400 else kind
        return kind(
            f"{what}: the token server {realm} answered {status}{f': {said}' if said else ''}",
            status=status,
            host=self._host,
            url=realm,
            hint=errors.hint_for(kind, self._host),
            retry_after=retry.parse_retry_after("".join(answer.headers_of("retry-after")[:1])),
        )

    def _parse_token(self, body: bytes, realm: str) -> _Token:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        document = document if isinstance(document, Mapping) else {}
        value = document.get("token") or document.get("access_token")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise errors.ProtocolError(
                f"the token server {realm} of {self._host} gave no token", host=self._host, url=realm
            )
        life = document.get("expires_in")
        if not isinstance(life, int | float) or isinstance(life, bool) or not life > 0:
            life = _DEFAULT_LIFE
        return _Token(value, self._clock() + min(life, _LONGEST_LIFE) * _RENEW_AT)


def basic(credential: Credential) -> str:
    """The Authorization header of RFC 7617, in UTF-8."""
    text = f"{credential.username}:{credential.password}".encode()
    return "Basic " + base64.b64encode(text).decode("ascii")


def _authorised(request: Request, header: str) -> Request:
    return replace(request, authorization=header) if header else request
