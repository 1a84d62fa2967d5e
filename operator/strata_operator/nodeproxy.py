"""The way by which a kubelet pulls from a managed Registry: `python -m strata_operator.nodeproxy`, one on each node.

It listens on the node's loopback address alone, one port a Registry, and passes bytes on to the registry's Service
over TLS, verified by the Registry's own authority. Which ports and whereto stands in a mounted table that the operator
keeps; it is read again whenever it changes, and connections that are open go on. It holds no credentials: kubelets
bring theirs.

Settings (environment):

STRATA_PROXY_TABLE            the table's file (default /etc/strata-node-proxy/registries.json)
STRATA_PROXY_BIND             the address to listen on (default 127.0.0.1)
STRATA_PROXY_CONNECTIONS      connections at once, over all ports (default 512)
STRATA_PROXY_IDLE_SECONDS     a connection on which nothing moved for so long is closed (default 300)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strata_operator import logs, nodetable

log = logging.getLogger(__name__)

_CHUNK: Final = 256 * 1024
_CONNECT_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 1.0  # one stat a second; the kubelet swaps a symlink, which is all that has to be noticed

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Options:
    table: Path = Path("/etc/strata-node-proxy/registries.json")
    bind: str = "127.0.0.1"
    connections: int = 512
    idle_seconds: float = 300.0


def options(environ: Mapping[str, str]) -> Options:
    """The options in `environ`. Raises ValueError naming the variable."""
    default = Options()
    bind = environ.get("STRATA_PROXY_BIND", default.bind)
    try:
        loopback = ipaddress.ip_address(bind).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"STRATA_PROXY_BIND={bind!r}: must be a loopback address, or other machines could connect")
    return Options(
        table=Path(environ.get("STRATA_PROXY_TABLE", str(default.table))),
        bind=bind,
        connections=int(_number(environ, "STRATA_PROXY_CONNECTIONS", default.connections)),
        idle_seconds=_number(environ, "STRATA_PROXY_IDLE_SECONDS", default.idle_seconds),
    )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError as e:
        raise ValueError(f"{name}={text!r}: not a number") from e
    if not value >= 1:
        raise ValueError(f"{name}={text!r}: must be at least 1")
    return value


class Listener:
    """One port and its connections."""

    def __init__(self, proxy: Proxy, port: int, upstream: nodetable.Upstream) -> None:
        self._proxy = proxy
        self.port = port
        self.upstream = upstream
        self._context = ssl.create_default_context(cadata=upstream.ca_bundle)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        serve = functools.partial(self._proxy.serve, self)
        self._server = await asyncio.start_server(serve, self._proxy.options.bind, self.port, limit=_CHUNK)

    async def stop(self) -> None:
        """Listen no more; open connections go on."""
        if self._server:
            self._server.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A verified TLS connection to the registry. Raises OSError, ssl.SSLError, TimeoutError."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await asyncio.open_connection(
                self.upstream.host, self.upstream.port, ssl=self._context, limit=_CHUNK
            )


class Proxy:
    """All listeners of a node, as the table says."""

    def __init__(self, settings: Options) -> None:
        self.options = settings
        self.listeners: dict[int, Listener] = {}
        self._told: dict[int, str] = {}  # what keeps a port from being opened
        self._places = asyncio.Semaphore(settings.connections)

    async def update(self, table: Mapping[int, nodetable.Upstream]) -> None:
        """Listen on exactly the ports of `table`; what did not change is left alone."""
        for port, listener in list(self.listeners.items()):
            if table.get(port) != listener.upstream:
                await listener.stop()
                del self.listeners[port]
                log.info("port %d closed", port)
        self._told = {port: why for port, why in self._told.items() if port in table}
        for port, upstream in table.items():
            if port not in self.listeners:
                await self._open(port, upstream)

    async def _open(self, port: int, upstream: nodetable.Upstream) -> None:
        try:
            listener = Listener(self, port, upstream)
            await listener.start()
        except (OSError, ssl.SSLError) as e:  # the others go on; tried again at each poll
            if self._told.get(port) != (why := f"port {port} to {upstream.host}: {e}"):
                log.error("%s", why)
            self._told[port] = why
            return
        self._told.pop(port, None)
        self.listeners[port] = listener
        log.info("port %d -> %s:%d", port, upstream.host, upstream.port)

    async def follow(self, path: Path) -> None:
        """Keep to the table in `path` until cancelled; a table that cannot be read leaves things as they are."""
        last, told = "", ""
        while True:
            try:
                text = nodetable.read(path)
                if text != last or len(self.listeners) < len(nodetable.parse(text)):
                    await self.update(nodetable.parse(text))
                    last = text
                told = ""
            except (OSError, nodetable.TableError) as e:
                if str(e) != told:
                    log.warning("%s: %s; ports stay as they are", path, e)
                told = str(e)
            await asyncio.sleep(_POLL_SECONDS)

    async def serve(self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a kubelet, from its first byte to its last."""
        if self._places.locked():
            log.warning(
                "port %d: %d connections are open, one more is refused", listener.port, self.options.connections
            )
            writer.transport.abort()
            return
        async with self._places:
            try:
                there_reader, there_writer = await listener.connect()
            except (OSError, ssl.SSLError, TimeoutError) as e:
                log.warning("port %d: cannot reach %s: %s", listener.port, listener.upstream.host, e or "no answer")
                await _refuse(writer, listener.upstream.host)
                return
            try:
                await self._pass((reader, writer), (there_reader, there_writer))
            finally:
                await _close(there_writer, writer)

    async def _pass(self, here: _Streams, there: _Streams) -> None:
        """Copy both ways until either end is done or breaks, or nothing moved for too long.

        TLS cannot be half closed, and HTTP clients do not half close: the end of one way is the end of both.
        """
        seconds, now = self.options.idle_seconds, asyncio.get_running_loop().time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as limit:
                ways = [
                    asyncio.create_task(_copy(source[0], target[1], lambda: limit.reschedule(now() + seconds)))
                    for source, target in ((here, there), (there, here))
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # ssl.SSLError is one; a peer that breaks off ends the copy as its end does
        while data := await reader.read(_CHUNK):
            moved()
            writer.write(data)
            await writer.drain()
            moved()


async def _close(*writers: asyncio.StreamWriter) -> None:
    """Close in order, with what is still unsent; a peer that takes nothing more is cut off."""
    for writer in writers:
        writer.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()


async def _refuse(writer: asyncio.StreamWriter, host: str) -> None:
    """So that the kubelet's event says why, not `connection reset`."""
    text = f"the node proxy of Strata cannot reach {host}\n".encode()
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode()
    writer.write(head + text)
    await _close(writer)


async def run(settings: Options) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    proxy = Proxy(settings)
    follower = asyncio.create_task(proxy.follow(settings.table))
    follower.add_done_callback(lambda _task: stop.set())
    await stop.wait()
    follower.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await follower
    for listener in proxy.listeners.values():
        await listener.stop()


def main() -> int:
    """Run the node proxy; returns the exit code."""
    try:
        settings = options(os.environ)
    except ValueError as e:
        print(f"strata-node-proxy: {e}", file=sys.stderr)
        return 2
    logs.configure("json", "INFO")
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
