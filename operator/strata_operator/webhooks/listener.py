"""The socket: few connections, each for one request, and none that waits for the request for long.

aiohttp bounds the size of a request's head, not the time that it takes to come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import http_exceptions, web

log = logging.getLogger(__name__)

CONNECTIONS: Final = 256
HEAD_SECONDS: Final = 10.0
#: For deliveries under way when the operator ends: who has lost the Lease has less than two seconds left (stopping.py).
PARTING_SECONDS: Final = 1.5
_HEAD_LINE: Final = 4096  # bytes of the request's line, and of one header
_HEADERS: Final = 64
_THEIRS: Final = (http_exceptions.HttpProcessingError, ConnectionError)


def _is_ours(record: logging.LogRecord) -> bool:
    """aiohttp calls what strangers break an error of the server, as often as they like and with what they sent in it."""
    return not (record.exc_info and isinstance(record.exc_info[1], _THEIRS))


log.addFilter(_is_ours)


class Listener:
    """Serves `application` on `listen` (host:port) between `start` and `close`."""

    def __init__(self, application: web.Application, listen: str, *, connections: int = CONNECTIONS) -> None:
        application.middlewares.append(self._one_request)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=log,
            shutdown_timeout=PARTING_SECONDS,
            max_line_size=_HEAD_LINE,
            max_field_size=_HEAD_LINE,
            max_headers=_HEADERS,
            read_bufsize=1 << 16,
            lingering_time=2.0,
            auto_decompress=False,  # signatures are over what was sent, and nothing is to be blown up
        )
        self._listen = listen
        self._connections = connections
        self._heard: set[asyncio.BaseProtocol] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """host:port on which it listens, also if it was told any port (0). Raises ValueError before `start`."""
        if self._server is None:
            raise ValueError("it does not listen yet")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, host.strip("[]"), int(port))

    async def close(self) -> None:
        if self._server:
            self._server.close()
        await self._runner.cleanup()

    def _connected(self) -> asyncio.BaseProtocol:
        server = cast("web.Server", self._runner.server)
        if len(server.connections) >= self._connections:
            return _Refusal()
        protocol = server()
        asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look, protocol)
        return protocol

    def _look(self, protocol: web.RequestHandler) -> None:
        """End a connection over which no whole head has come."""
        if protocol in self._heard:
            self._heard.discard(protocol)
        elif protocol.transport is not None:
            protocol.transport.abort()

    @web.middleware
    async def _one_request(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self._heard.add(request.protocol)
        try:
            response = await handler(request)
        except web.HTTPException as e:  # no such page or method: aiohttp's own answers
            response = web.Response(status=e.status, text=f"{e.status}\n", headers={"Allow": "POST"})
        response.force_close()
        return response


class _Refusal(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
