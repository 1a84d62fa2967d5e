"""A sink of CloudEvents on a real socket, which answers as a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from support.certificates import Leaf


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes


@dataclass
class SinkServer:
    """`answers` are (status, headers) for the next requests, then 204 for all others. `held`: no answer while it is set."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    held: bool = False
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, count: int) -> list[Received]:
        """The requests, when there are `count` of them."""
        while len(self.received) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.received

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append(Received(dict(request.headers), await request.read()))
        self._arrived.set()
        while self.held:  # noqa: ASYNC110  a test sets it
            await asyncio.sleep(0.01)
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        return web.Response(status=status, headers=headers)


@contextlib.asynccontextmanager
async def serving(tls: Leaf | None = None, port: int = 0) -> AsyncIterator[SinkServer]:
    server = SinkServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=_context(tls) if tls else None)
    await site.start()
    host, number = runner.addresses[0][:2]
    server.url = f"{'https' if tls else 'http'}://{host}:{number}/sink"
    try:
        yield server
    finally:
        server.held = False
        await runner.cleanup()


def _context(tls: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        certificate.write_bytes(tls.certificate)
        key.write_bytes(tls.key)
        context.load_cert_chain(certificate, key)
    return context
