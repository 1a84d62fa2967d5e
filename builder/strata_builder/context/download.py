"""GET of a file that a build names: redirects followed, credentials kept to the host that they are for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.context import gitref
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.frozen import field, frozen
from strata_builder.registry import addresses, connect, counters, proxies, retry, transport
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.messages import Request

MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_HINT: Final = "put username and password, or bearerToken, into the Secret of the source"


@frozen
class Client:
    """How files are fetched. `ca` are authorities (PEM) trusted beside the system's; `filter` may refuse addresses."""

    ca: bytes = b""
    filter: connect.ConnectFilter | None = None
    policy: retry.Policy = field(default_factory=retry.Policy)

    def open(
        self, url: str, credentials: Credentials = ANONYMOUS, headers: tuple[tuple[str, str], ...] = ()
    ) -> transport.Response:
        """The answer to a GET: status 200, or 304 where `headers` ask for it. To be closed by the caller.

        Raises InvalidSpec, SourceNotFound, SourceAuthFailed, SourceUnavailable; no message has a secret or the query.
        """
        check_url(url)
        ca = b"\n".join(filter(None, (self.ca, credentials.ca))) or None
        connector = connect.Connector(ca, proxies.Proxies.from_env(os.environ), self.filter)
        client = transport.Transport(connector, counters.Counters())
        with translated(url):
            return self.policy.run(lambda: _follow(client, url, credentials, headers))


DEFAULTS: Final = Client()


def check_url(url: str) -> str:
    """`url` itself. Raises InvalidSpec unless it is http or https, without a password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise errors.InvalidSpec(f"{gitref.shown(url)!r} is not an http or https URL")
    if not parts.netloc.isascii():
        raise errors.InvalidSpec(
            f"the host of {gitref.shown(url)!r} is not written in ASCII", hint="write its name as DNS has it (xn--...)"
        )
    if "@" in parts.netloc:
        raise errors.InvalidSpec(
            f"{addresses.redact(url)}: user and password do not belong into a URL, which is shown in many places",
            hint="leave them out: a login is read from a Secret",
        )
    return url


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What the transport raises, in the words of a source."""
    try:
        yield
    except registry_errors.TlsFailed as e:
        raise errors.SourceAuthFailed(
            e.message,
            lacks=errors.AUTHORITY,
            hint="put the certificate of its authority into the key ca.crt of the source's Secret",
        ) from e
    except registry_errors.AddressRefused as e:
        raise errors.InvalidSpec(e.message, hint=e.hint) from e
    except registry_errors.RegistryError as e:
        raise errors.SourceUnavailable(f"cannot fetch {addresses.redact(url)}: {e.message}") from e


def _follow(
    client: transport.Transport, url: str, credentials: Credentials, headers: tuple[tuple[str, str], ...]
) -> transport.Response:
    first = at = addresses.in_ascii(url)
    for _ in range(MAX_REDIRECTS + 1):
        own = addresses.Origin.of(at) == addresses.Origin.of(first)
        authorization = credentials.authorization() if own else ""
        response = client.send(Request("GET", at, headers, authorization=authorization))
        if response.status not in _REDIRECTS:
            return _checked(response, at, conditional=bool(headers))
        response.close()
        location = addresses.in_ascii(response.header("location"), "latin-1")  # as headers are read
        following = addresses.resolve(at, location)
        if at.startswith("https:") and following.startswith("http:"):
            raise errors.SourceNotFound(
                f"{addresses.redact(at)} redirects to {addresses.redact(following)}, which is not encrypted"
            )
        at = following
    raise errors.SourceNotFound(f"{addresses.redact(url)} redirects more than {MAX_REDIRECTS} times")


def _checked(response: transport.Response, url: str, *, conditional: bool) -> transport.Response:
    status, shown = response.status, addresses.redact(url)
    if status == 200 or (status == 304 and conditional):
        return response
    response.close()
    if status in (401, 403):
        message = f"{shown} answered {status}: the credentials are refused, or missing"
        raise errors.SourceAuthFailed(message, lacks=errors.LOGIN, hint=_HINT)
    if status in (408, 425, 429) or status >= 500:
        raise registry_errors.Unavailable(
            f"it answered {status}", status=status, retry_after=retry.parse_retry_after(response.header("retry-after"))
        )
    raise errors.SourceNotFound(f"{shown} answered {status}", hint="check the URL")
