"""One HTTP request over pooled connections: no authorisation, no redirects, no retries, but for a connection that died
while idle.

A body is sent while watching for an early answer, because a server that refuses (401, 413) answers and closes before it
has read all.
"""

from __future__ import annotations

import io
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final

from strata_builder.registry import addresses, connect, errors
from strata_builder.registry.counters import Counters
from strata_builder.registry.messages import Body, Request

if TYPE_CHECKING:
    import http.client
    import socket

    from _typeshed import WriteableBuffer

USER_AGENT: Final = "strata"
_CHUNK: Final = 256 << 10
_IDLE_LIMIT: Final = 30.0  # seconds; servers and middle boxes drop idle connections soon after
_IDLE_MAX: Final = 8  # connections kept for an origin
_REPLAYABLE: Final = frozenset({"GET", "HEAD", "POST"})  # without a body; a POST then begins one upload session more


class _Connection:
    def __init__(self, connection: http.client.HTTPConnection, origin: addresses.Origin, idle_since: float) -> None:
        self.http = connection
        self.origin = origin
        self.idle_since = idle_since
        self.reused = False


class Response(io.RawIOBase):
    """An answer; read it to its end or close it. The connection goes back to the pool only when all of it was read."""

    def __init__(
        self, raw: http.client.HTTPResponse, url: str, counters: Counters, release: Callable[[bool], None]
    ) -> None:
        super().__init__()
        self._raw = raw
        self._counters = counters
        self._release: Callable[[bool], None] | None = release
        self.status = raw.status
        self.url = url
        self._left = raw.length
        # http.client frees the connection only when even nothing was read; what comes in chunks may be anything.
        if raw.length == 0 and not raw.chunked:
            raw.read()
        if raw.isclosed():
            self._finish(whole=True)

    def header(self, name: str, default: str = "") -> str:
        return self._raw.headers.get(name, default)

    def headers_of(self, name: str) -> list[str]:
        return self._raw.headers.get_all(name) or []

    @property
    def length(self) -> int | None:
        """Content-Length, None if the server did not say (for a HEAD, of what a GET would give)."""
        value = self.header("content-length").strip()
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Raises Unavailable when the connection fails, or ends before Content-Length."""
        import http.client

        view = memoryview(buffer).cast("B")
        if self._release is None or not view.nbytes:
            return 0
        try:
            count = self._raw.readinto(view)
        except (OSError, http.client.HTTPException) as e:
            self._finish(whole=False)
            raise self._broken(connect.describe(e) if isinstance(e, OSError) else "the answer broke off") from e
        self._counters.add(down=count)
        if self._left is not None:
            self._left -= count
        if count == 0:
            short = bool(self._left)
            self._finish(whole=not short)
            if short:
                raise self._broken(f"the connection closed {self._left} bytes early")
        elif self._raw.isclosed():
            self._finish(whole=True)
        return count

    def read_all(self, limit: int) -> bytes:
        """The body, at most `limit` bytes of it (more is dropped with the connection)."""
        out = bytearray()
        while len(out) < limit and (chunk := self.read(min(64 << 10, limit - len(out)))):
            out += chunk
        self.close()
        return bytes(out)

    def _broken(self, what: str) -> errors.Unavailable:
        shown = addresses.redact(self.url)
        return errors.Unavailable(
            f"reading {shown} failed: {what}", host=addresses.Origin.of(self.url).netloc, url=shown
        )

    def _finish(self, *, whole: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            if not whole:
                self._raw.close()  # a connection that was to end with its answer belongs to that alone
            release(whole)

    def close(self) -> None:
        if not self.closed:
            self._finish(whole=self._raw.isclosed())
        super().close()


class Transport:
    """Connections to any number of origins. Safe to share between threads."""

    def __init__(
        self, connector: connect.Connector, counters: Counters, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connector = connector
        self._counters = counters
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: dict[addresses.Origin, list[_Connection]] = {}

    def send(self, request: Request) -> Response:
        """Raises Unavailable if no answer came, TlsFailed, AddressRefused."""
        origin = addresses.Origin.of(request.url)
        connection = self._take(origin)
        try:
            return self._exchange(connection, request)
        except _Stale:
            return self._exchange(self._open(origin), request)

    def close(self) -> None:
        with self._lock:
            idle = [connection for pool in self._idle.values() for connection in pool]
            self._idle.clear()
        for connection in idle:
            connection.http.close()

    def _take(self, origin: addresses.Origin) -> _Connection:
        while True:
            with self._lock:
                pool = self._idle.get(origin)
                connection = pool.pop() if pool else None
            if connection is None:
                return self._open(origin)
            if self._clock() - connection.idle_since < _IDLE_LIMIT and not _readable(connection.http.sock):
                connection.reused = True
                return connection
            connection.http.close()

    def _open(self, origin: addresses.Origin) -> _Connection:
        import http.client

        sock = self._connector.connect(origin)
        connection = http.client.HTTPConnection(origin.host, origin.port)
        connection.sock = sock
        connection.auto_open = 0
        return _Connection(connection, origin, self._clock())

    def _give_back(self, connection: _Connection, whole: bool) -> None:
        if whole and connection.http.sock is not None:
            connection.idle_since = self._clock()
            with self._lock:
                pool = self._idle.setdefault(connection.origin, [])
                if len(pool) < _IDLE_MAX:
                    pool.append(connection)
                    return
        connection.http.close()

    def _exchange(self, connection: _Connection, request: Request) -> Response:
        import http.client

        sent_all = False
        try:
            self._counters.add(requests=1)
            self._send_head(connection, request)
            sent_all = self._send_body(connection.http.sock, request.body)
            raw = connection.http.getresponse()
        except (OSError, http.client.HTTPException) as e:
            connection.http.close()
            if connection.reused and request.body is None and request.method in _REPLAYABLE:
                raise _Stale from e
            raise self._failed(request, e) from e
        except BaseException:
            connection.http.close()
            raise
        keep = sent_all and not raw.will_close
        return Response(raw, request.url, self._counters, lambda whole: self._give_back(connection, whole and keep))

    def _send_head(self, connection: _Connection, request: Request) -> None:
        origin = connection.origin
        proxy = self._connector.proxy_of(origin)
        path = request.url.partition("#")[0] if proxy else _path_of(request.url)
        http = connection.http
        http.putrequest(request.method, path, skip_host=True, skip_accept_encoding=True)
        http.putheader("Host", origin.netloc)
        http.putheader("User-Agent", USER_AGENT)
        for line in connect.proxy_headers(proxy) if proxy else ():
            http.putheader(*line.split(": ", 1))
        for name, value in request.headers:
            http.putheader(name, value)
        if request.authorization:
            http.putheader("Authorization", request.authorization)
        if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
            http.putheader("Content-Length", str(_size(request.body)))
        http.endheaders()

    def _send_body(self, sock: socket.socket, body: bytes | Body | None) -> bool:
        """True if all was sent; False if an answer came (or the peer stopped reading) before."""
        if not _size(body):
            return True
        is_tls = hasattr(sock, "selected_alpn_protocol")
        with _reader(body) as reader:
            buffer = memoryview(bytearray(_CHUNK))
            while count := reader.readinto(buffer):  # type: ignore[attr-defined]
                if not is_tls and _readable(sock):  # over TLS that may be a session ticket
                    return False
                try:
                    sock.sendall(buffer[:count])
                except TimeoutError:
                    raise
                except OSError:  # the peer hung up: perhaps it has said why
                    return False
                self._counters.add(up=count)
        return True

    def _failed(self, request: Request, error: Exception) -> errors.RegistryError:
        import http.client

        origin, shown = addresses.Origin.of(request.url), addresses.redact(request.url)
        what = connect.describe(error) if isinstance(error, OSError) else type(error).__name__
        problem = f"the connection was lost: {what}"
        if isinstance(error, http.client.InvalidURL):
            return errors.ProtocolError(f"{shown} cannot be requested: it holds control characters", host=origin.netloc)
        if type(error) in (http.client.BadStatusLine, http.client.LineTooLong):
            problem = "what answers there is no HTTP server"
        return errors.Unavailable(
            f"{request.method} {shown}: {problem}", host=origin.netloc, method=request.method, url=shown
        )


class _Stale(Exception):
    """A pooled connection turned out dead before anything of the request can have had an effect."""


def _path_of(url: str) -> str:
    rest = url.partition("#")[0].partition("://")[2]
    at = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=-1)
    path = rest[at:] if at >= 0 else "/"
    return path if path.startswith("/") else "/" + path


def _size(body: bytes | Body | None) -> int:
    return 0 if body is None else len(body) if isinstance(body, bytes) else body.size


def _reader(body: bytes | Body | None) -> BinaryIO:
    return io.BytesIO(body or b"") if body is None or isinstance(body, bytes) else body.open()


def _readable(sock: socket.socket | None) -> bool:
    """True if the peer has said something (or hung up)."""
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
