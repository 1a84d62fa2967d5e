"""One small HTTP request a look: a git program and its helpers cost ten times as much.

Only what goes well, or tells of the host, is judged here. For everything else `Unsuited` is raised, and the git program
gives the verdict: redirects, refused credentials, repositories that are not there, servers of other protocols.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import aiohttp.abc
import yarl

from strata_builder.context import credentials, gitref, trust
from strata_operator.addresses import Filter
from strata_operator.imagebuild.triggers import lsrefs

_LARGEST: Final = 4 << 20  # bytes of an answer
_KEPT: Final = 64  # TLS contexts, of which each authority of a Secret makes one
_AGENT: Final = "git/2.39 (strata)"  # some servers know protocol versions by it


class Refused(Exception):
    """The operator may not ask this address."""


class HostFailed(Exception):
    """The host gave no answer, or wants to be left alone; `retry_after` is its header."""

    def __init__(self, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Client:
    """Keeps connections for a while, for hosts with many repositories. Belongs to one event loop."""

    def __init__(self, admits: Filter, *, ca: bytes = b"", timeout: float = 30.0) -> None:
        self._admits = admits
        self._ca = ca
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._contexts: collections.OrderedDict[bytes, ssl.SSLContext] = collections.OrderedDict()

    async def listing(
        self, url: gitref.GitUrl, names: Sequence[str], login: credentials.Credentials, *, proxy: str = ""
    ) -> bytes:
        """Lines as of `git ls-remote` for the references `names`. Raises Refused, HostFailed and lsrefs.Unsuited."""
        if "?" in url.address:
            raise lsrefs.Unsuited("a URL with a query")
        found = [
            await self._ask(url, lsrefs.request(names[at : at + lsrefs.MOST]), login, proxy)
            for at in range(0, len(names), lsrefs.MOST)
        ]
        return b"".join(found)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, url: gitref.GitUrl, body: bytes, login: credentials.Credentials, proxy: str) -> bytes:
        if not proxy:
            self._check(url.host)
        try:
            async with self._open().post(
                yarl.URL(f"{url.address.rstrip('/')}/git-upload-pack", encoded=True),
                data=body,
                headers=_headers(login),
                ssl=await self._context(login.ca),
                proxy=proxy or None,
                allow_redirects=False,
            ) as answer:
                return lsrefs.listing(await _read(answer))
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL, ssl.SSLError, UnicodeError) as e:
            raise lsrefs.Unsuited(str(e)) from e
        except aiohttp.ClientConnectorError as e:
            if isinstance(e.os_error, _NotAdmitted):
                raise Refused from e
            raise HostFailed(f"cannot connect to {url.host}: {e.os_error.strerror or e.os_error}") from e
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as e:
            raise HostFailed(f"{url.host} broke off: {e}") from e
        except TimeoutError as e:
            raise HostFailed(f"{url.host} did not answer in time") from e
        except aiohttp.ClientError as e:
            raise lsrefs.Unsuited(str(e)) from e

    def _check(self, host: str) -> None:
        """An address is not looked up, so the resolver never sees it."""
        try:
            admitted = self._admits.admits(host)
        except ValueError:
            return  # a name
        if not admitted:
            raise Refused

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Resolver(self._admits), limit=0, ttl_dns_cache=30, keepalive_timeout=60
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    async def _context(self, ca: bytes) -> ssl.SSLContext:
        """One for each set of authorities: making one reads them all, and connections are kept for each."""
        key = hashlib.sha256(ca).digest()
        if key not in self._contexts:
            self._contexts[key] = await asyncio.to_thread(self._trusting, ca)
            while len(self._contexts) > _KEPT:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(key)
        return self._contexts[key]

    def _trusting(self, ca: bytes) -> ssl.SSLContext:
        pem = trust.bundle((self._ca, ca))
        try:
            return ssl.create_default_context(cadata=pem.decode("ascii", "ignore") or None)
        except (ssl.SSLError, ValueError) as e:
            raise lsrefs.Unsuited(f"authorities that cannot be read: {e}") from e


class _NotAdmitted(OSError):
    """No address of the name may be asked."""


class _Resolver(aiohttp.abc.AbstractResolver):
    """Gives only addresses that may be asked; what it gives is what is connected to, so that no second look-up can
    answer otherwise."""

    def __init__(self, admits: Filter) -> None:
        self._admits = admits

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        admitted = [entry for entry in found if self._admits.admits(str(entry[4][0]))]
        if found and not admitted:
            raise _NotAdmitted(f"no address of {host} may be asked")
        return [_result(host, entry) for entry in admitted]

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, entry: tuple[Any, ...]) -> aiohttp.abc.ResolveResult:
    family, _, proto, _, address = entry
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return {
        "hostname": host,
        "host": str(address[0]),
        "port": int(address[1]),
        "family": family,
        "proto": proto,
        "flags": flags,
    }


def _headers(login: credentials.Credentials) -> dict[str, str]:
    headers = {
        "Accept": "application/x-git-upload-pack-result",
        "Accept-Encoding": "identity",
        "Content-Type": "application/x-git-upload-pack-request",
        "Git-Protocol": "version=2",
        "User-Agent": _AGENT,
    }
    authorization = login.authorization()
    return headers | ({"Authorization": authorization} if authorization else {})


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status in (429, 502, 503, 504) or (answer.status == 403 and "Retry-After" in answer.headers):
        raise HostFailed(f"{answer.url.host} answered {answer.status}", answer.headers.get("Retry-After"))
    if answer.status != 200 or answer.content_type != "application/x-git-upload-pack-result":
        raise lsrefs.Unsuited(f"status {answer.status}")
    data = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > _LARGEST:
            raise lsrefs.Unsuited(f"more than {_LARGEST} bytes")
    return bytes(data)
