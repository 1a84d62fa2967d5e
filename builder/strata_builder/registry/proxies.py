"""Which proxy a connection goes through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go and curl read them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from strata_builder.frozen import field, frozen
from strata_builder.registry import addresses


@frozen
class Proxy:
    """`credentials` are user:password for Proxy-Authorization, empty if none."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)


@frozen
class Proxies:
    """`no_proxy`: comma separated hosts, `.suffixes`, addresses, CIDR ranges, each with an optional :port, or `*`."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    no_proxy: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Proxies:
        """A lower-case variable wins over its upper-case twin."""

        def read(name: str) -> str:
            return environ.get(name.lower()) or environ.get(name) or ""

        return cls(read("HTTP_PROXY"), read("HTTPS_PROXY"), read("NO_PROXY"))

    def of(self, origin: addresses.Origin) -> Proxy | None:
        """The proxy for `origin`; never one for this machine itself. Raises ProtocolError for a proxy URL that is
        none."""
        url = self.https if origin.scheme == "https" else self.http
        if not url or addresses.is_loopback(origin.host) or self._excluded(origin):
            return None
        url = url if "://" in url else f"http://{url}"
        at = addresses.Origin.of(url)
        parts = urlsplit(url)
        user = unquote(parts.username or "")
        return Proxy(at.host, at.port, f"{user}:{unquote(parts.password or '')}" if user else "")

    def _excluded(self, origin: addresses.Origin) -> bool:
        return any(_covers(item.strip().lower(), origin) for item in self.no_proxy.split(",") if item.strip())


def _covers(item: str, origin: addresses.Origin) -> bool:
    if item == "*":
        return True
    if "/" in item:
        return _in_network(item, origin.host)
    name, colon, port = item.rpartition(":")
    if colon and port.isdigit() and ":" not in name.strip("[]"):
        if int(port) != origin.port:
            return False
        item = name
    item = item.strip("[]").removeprefix("*")
    host = origin.host.lower()
    return host == item.lstrip(".") or host.endswith("." + item.lstrip("."))


def _in_network(item: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(item, strict=False)
    except ValueError:
        return False
