"""Requests to one registry: authorisation, redirects, retries, and answers turned into errors. What goes above knows
none of that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from strata_builder.errors import BuildError
from strata_builder.frozen import frozen, replace
from strata_builder.registry import addresses, auth, challenges, errors, retry
from strata_builder.registry.config import Credential
from strata_builder.registry.messages import Body, Request
from strata_builder.registry.transport import Response, Transport

#: Gives the credential for a repository ("" = the registry as a whole).
CredentialSource = Callable[[str], "Credential | None"]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WITH_BODY: Final = frozenset({307, 308})  # the only ones that keep method and body (RFC 9110 §15.4)
_MAX_REDIRECTS: Final = 5


@frozen
class Call:
    """One operation. `path` is below the registry's base or an absolute URL; `doing` names it to people; `accept` are
    the good answers."""

    method: str
    path: str
    doing: str
    repository: str = ""
    scopes: tuple[str, ...] = ()
    accept: tuple[int, ...] = (200,)
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Body | None = None


def scope(repository: str, actions: str) -> str:
    """As a token server wants it: `repository:<name>:<pull,push>`."""
    return f"repository:{repository}:{actions}"


class Session:
    """Safe to share between threads. `host` is what people call the registry; `base` the URL of its API, without a
    path."""

    def __init__(
        self,
        host: str,
        base: str,
        transport: Transport,
        credentials: CredentialSource,
        *,
        insecure: bool = False,
        policy: retry.Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.base = base
        self.policy = policy or retry.Policy()
        self._origin = addresses.Origin.of(base)
        self._transport = transport
        self._credentials = credentials
        self._insecure = insecure
        self._clock = clock
        self._lock = threading.Lock()
        self._authenticators: dict[Credential | None, auth.Authenticator] = {}

    def call(self, call: Call) -> Response:
        """`once`, tried again while the registry is unavailable. For what may be sent twice."""
        return self.policy.run(lambda: self.once(call))

    def once(self, call: Call) -> Response:
        """The answer, its status one of `call.accept`. Raises RegistryError; only connections that died while idle are
        tried again."""
        url = call.path if "://" in call.path else self.base + call.path
        request = Request(call.method, url, call.headers, call.body)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._authorised(request, call)
            if response.status in call.accept:
                return response
            try:
                location = self._redirect(request, response)
                if location is None:
                    raise self._error(call, response)
            except BuildError:
                response.close()
                raise
            response.read_all(errors.MAX_BODY)
            method = "GET" if response.status == 303 and request.method != "HEAD" else request.method
            body = request.body if method == call.method else None
            request = replace(request, method=method, url=location, body=body)
        raise errors.ProtocolError(
            f"{call.doing}: {self.host} redirects in a circle", host=self.host, repository=call.repository
        )

    def limited(self, response: Response, limit: int, what: str) -> bytes:
        """The whole body. Raises ProtocolError if it has more than `limit` bytes."""
        data = response.read_all(limit + 1)
        if len(data) > limit:
            raise errors.ProtocolError(f"{what}: {self.host} answered more than {limit} bytes", host=self.host)
        return data

    def _redirect(self, request: Request, response: Response) -> str | None:
        if response.status not in _REDIRECTS or not response.header("location"):
            return None
        if request.method not in ("GET", "HEAD") and response.status not in _WITH_BODY:
            return None
        return self.follow(response)

    def follow(self, response: Response) -> str:
        """The absolute URL of the Location of `response`. Raises ProtocolError if it would leave TLS."""
        location = addresses.resolve(response.url, response.header("location"))
        if location.startswith("http:") and response.url.startswith("https:"):
            raise errors.ProtocolError(
                f"{self.host} sends its clients from https to {addresses.redact(location)}, which is not encrypted",
                host=self.host,
                url=addresses.redact(location),
                hint="the proxy before it must pass Host and X-Forwarded-Proto; or set http.relativeurls there",
            )
        return location

    def _authorised(self, request: Request, call: Call) -> Response:
        if addresses.Origin.of(request.url) != self._origin:
            return self._transport.send(request)  # a stranger, such as a storage server: it gets no credentials
        flow = self._authenticator(call.repository).flow(request, call.scopes)
        response = self._transport.send(next(flow))
        while True:
            try:
                following = flow.send(response)
            except StopIteration:
                return response
            except BuildError:
                response.close()
                raise
            response.close()
            response = self._transport.send(following)

    def _authenticator(self, repository: str) -> auth.Authenticator:
        credential = self._credentials(repository)
        with self._lock:
            if credential not in self._authenticators:
                made = auth.Authenticator(self.host, credential, clock=self._clock, insecure=self._insecure)
                self._authenticators[credential] = made
            return self._authenticators[credential]

    def _error(self, call: Call, response: Response) -> errors.RegistryError:
        offered = challenges.parse(response.headers_of("www-authenticate"))
        doing = call.doing
        at = addresses.Origin.of(response.url)
        if response.status == 401 and at != self._origin:
            return self._elsewhere(call, at)
        if response.status == 401:
            anonymous = self._credentials(call.repository) is None
            doing = f"{'no credentials' if anonymous else 'authentication failed'} for {self.host}: {call.doing}"
        return errors.of_answer(
            call.method,
            response.status,
            b"" if call.method == "HEAD" else response.read_all(errors.MAX_BODY),
            host=self.host,
            repository=call.repository,
            url=addresses.redact(response.url),
            doing=doing,
            challenge_error=next(filter(None, (c.param("error") for c in offered)), ""),
            retry_after=retry.parse_retry_after(response.header("retry-after")),
        )

    def _elsewhere(self, call: Call, at: addresses.Origin) -> errors.Unauthorized:
        return errors.Unauthorized(
            f"{call.doing}: {self.host} sent its client on to {at.netloc}, which wants a login,"
            f" but credentials are for {self.host} alone",
            status=401,
            host=self.host,
            repository=call.repository,
            method=call.method,
            hint=f"name the registry as it names itself ({at.netloc}), or set its http.host or http.relativeurls",
        )


def warnings_of(response: Response) -> tuple[str, ...]:
    """Texts of `Warning: 299 - "..."` headers (distribution-spec, "Warnings"): to be shown, never acted upon."""
    return tuple(_texts(response.headers_of("warning")))


def _texts(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        code, _, rest = value.partition(" ")
        if code == "299" and '"' in rest:
            yield errors.clean(rest.partition('"')[2].rpartition('"')[0])
