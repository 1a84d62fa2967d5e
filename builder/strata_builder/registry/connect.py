"""From an origin to a connected socket: address filter, proxy tunnel, TLS. ssl is imported when first needed."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from strata_builder.frozen import frozen
from strata_builder.registry import addresses, errors, patience
from strata_builder.registry.proxies import Proxies, Proxy

if TYPE_CHECKING:
    import ssl

#: Called with a host name and an address it resolved to, before connecting to that very address; raises to refuse.
ConnectFilter = Callable[[str, str], None]
_MAX_PROXY_ANSWER: Final = 16 << 10


@frozen
class Timeouts:
    """Seconds: `connect` for each address and the TLS handshake, `read` for each wait on the peer."""

    connect: float = 10.0
    read: float = 90.0


class Connector:
    """`ca` are PEM certificates trusted beside the system's."""

    def __init__(
        self, ca: bytes | None, proxies: Proxies, connect_filter: ConnectFilter | None, timeouts: Timeouts | None = None
    ) -> None:
        self.ca = ca
        self.proxies = proxies
        self.connect_filter = connect_filter
        self.timeouts = timeouts or Timeouts()

    def connect(self, origin: addresses.Origin) -> socket.socket:
        """A socket ready for HTTP with `origin` (or with its proxy, for plain HTTP). Raises Unavailable, TlsFailed,
        AddressRefused."""
        proxy = self.proxies.of(origin)
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        try:
            sock = self._dial(host, port)
        except OSError as e:
            through = f" through the proxy {host}:{port}" if proxy else ""
            raise errors.Unavailable(
                f"cannot connect to {origin.netloc}{through}: {describe(e)}",
                host=origin.netloc,
                hint=f"check the name and port {origin.netloc}, and that the network lets this machine reach it",
            ) from e
        try:
            if proxy and origin.scheme == "https":
                self._tunnel(sock, proxy, origin)
            ready = self._secure(sock, origin) if origin.scheme == "https" else sock
            ready.settimeout(self.timeouts.read)
        except BaseException:
            sock.close()
            raise
        return cast("socket.socket", patience.Socket(ready, self.timeouts.read)) if patience.ends() else ready

    def proxy_of(self, origin: addresses.Origin) -> Proxy | None:
        """The proxy that wants the whole URL in the request line: only plain HTTP does."""
        return self.proxies.of(origin) if origin.scheme == "http" else None

    def _dial(self, host: str, port: int) -> socket.socket:
        """The filter sees each address and the socket goes to that address, so a second look-up cannot answer
        otherwise."""
        failure: OSError = OSError("the name resolves to no address")
        for family, kind, protocol, _, address in _resolved(host, port):
            if self.connect_filter is not None:
                self.connect_filter(host, str(address[0]))
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(patience.left(self.timeouts.connect))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.connect(address)
            except OSError as e:
                sock.close()
                failure = e
            else:
                return sock
        raise failure

    def _tunnel(self, sock: socket.socket, proxy: Proxy, origin: addresses.Origin) -> None:
        target = f"{f'[{origin.host}]' if ':' in origin.host else origin.host}:{origin.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *proxy_headers(proxy)]
        try:
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b""
            while b"\r\n\r\n" not in answer and len(answer) < _MAX_PROXY_ANSWER:
                byte = sock.recv(1)  # not one byte of what follows may be taken
                if not byte:
                    break
                answer += byte
        except OSError as e:
            raise errors.Unavailable(
                f"the proxy {proxy.host}:{proxy.port} failed: {describe(e)}", host=origin.netloc
            ) from e
        status = answer.split(b" ", 2)[1:2]
        if status != [b"200"]:
            said = errors.clean(answer.partition(b"\r\n")[0].decode("latin-1"))
            raise errors.Unavailable(
                f"the proxy {proxy.host}:{proxy.port} does not connect to {target}: {said or 'no answer'}",
                host=origin.netloc,
            )

    def _secure(self, sock: socket.socket, origin: addresses.Origin) -> socket.socket:
        import ssl

        try:
            return self._context.wrap_socket(sock, server_hostname=origin.host)
        except ssl.SSLCertVerificationError as e:
            raise errors.TlsFailed(
                f"the certificate of {origin.netloc} is not trusted: {e.verify_message}",
                host=origin.netloc,
                hint="trust the authority that signed it (caBundle of the Registry; SSL_CERT_FILE for `strata build`), or "
                "check its host name",
            ) from e
        except ssl.SSLError as e:
            if e.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                raise errors.TlsFailed(
                    f"{origin.netloc} does not speak TLS",
                    host=origin.netloc,
                    hint="declare the registry insecure if it is meant to serve plain HTTP",
                ) from e
            raise errors.Unavailable(f"TLS with {origin.netloc} failed: {e.reason or e}", host=origin.netloc) from e
        except OSError as e:
            raise errors.Unavailable(f"TLS with {origin.netloc} failed: {describe(e)}", host=origin.netloc) from e

    @cached_property
    def _context(self) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca:
            try:
                context.load_verify_locations(cadata=self.ca.decode("ascii"))
            except (ssl.SSLError, ValueError) as e:
                raise errors.TlsFailed(f"the CA bundle holds no PEM certificate that can be read: {e}") from e
        return context


def _resolved(host: str, port: int) -> list[tuple[Any, ...]]:
    name = host.encode("ascii") if host.isascii() else host  # for a str Python loads what knows of other alphabets
    try:
        return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except UnicodeError:  # a label that is empty or longer than the 63 characters of RFC 1035
        raise OSError("the name is no host name") from None


def proxy_headers(proxy: Proxy) -> list[str]:
    if not proxy.credentials:
        return []
    return ["Proxy-Authorization: Basic " + base64.b64encode(proxy.credentials.encode()).decode("ascii")]


def describe(error: OSError) -> str:
    """What an OSError says to people."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error.strerror or error) or type(error).__name__
