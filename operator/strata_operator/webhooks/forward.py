"""From an operator that stands by to the one that acts: the delivery as it came, which that one checks itself.

The Service has all replicas behind it, and a forge tries once. So nothing has to be trusted, written or labelled: the
Lease says who acts, and its pod where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp
from aiohttp import web

from strata_operator import kube, names

log = logging.getLogger(__name__)

FORWARDED: Final = "X-Strata-Forwarded"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=40, sock_connect=3)
_ANSWER: Final = 4096  # bytes
_KNOWN_SECONDS: Final = 5.0
#: Of one connection (RFC 9110 §7.6.1), or made anew by the client.
_HOP: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


class Nobody(Exception):
    """No other operator is known that acts."""


class Forwarder:
    """`holder` names the pod that acts, empty if nobody does; `port` is that of all replicas."""

    def __init__(self, client: kube.Kube, namespace: str, holder: Callable[[], str], port: Callable[[], int]) -> None:
        self._kube = client
        self._namespace = namespace
        self._holder = holder
        self._port = port
        self._known: tuple[str, str, float] = ("", "", 0.0)  # pod, address, when
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def forward(self, request: web.Request, body: AsyncIterator[bytes]) -> web.Response:
        """The answer of the operator that acts. Raises Nobody, and what `body` raises."""
        if FORWARDED in request.headers:
            raise Nobody("a delivery was forwarded to an operator that does not act")
        address = await self._address()
        host = f"[{address}]" if ":" in address else address
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        sent = _Body(body)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        try:
            async with self._session.post(
                f"http://{host}:{self._port()}{request.path}",
                data=sent.pieces(),
                headers=[*headers, (FORWARDED, "1")],
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type"),
            ) as answer:
                text = await answer.content.read(_ANSWER)
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            if sent.failed is not None:
                raise sent.failed from e
            raise Nobody(f"the operator that acts does not answer: {type(e).__name__}") from e
        kept = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
        return web.Response(status=answer.status, body=text, headers=kept)

    async def _address(self) -> str:
        pod = self._holder()
        now = asyncio.get_running_loop().time()
        if not pod:
            raise Nobody("nobody holds the Lease")
        if self._known[0] != pod or now - self._known[2] > _KNOWN_SECONDS:
            self._known = (pod, await self._ask(pod), now)
        if not self._known[1]:
            raise Nobody(f"pod {pod}, which holds the Lease, has no address")
        return self._known[1]

    async def _ask(self, pod: str) -> str:
        try:
            body = await self._kube.get(names.PODS, self._namespace, pod)
        except kube.KubeError as e:
            raise Nobody(f"the API server does not say where pod {pod} is: {e}") from e
        return str(((body or {}).get("status") or {}).get("podIP") or "")


class _Body:
    """Remembers what went wrong on this side: the client says of it only that it could not write."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.failed: Exception | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                yield piece
        except Exception as e:
            self.failed = e
            raise
