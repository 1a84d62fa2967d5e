"""URLs of registries: where a host's API is, how a Location is followed, what may be shown. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from strata_builder.frozen import frozen
from strata_builder.registry import errors

DOCKER_HUB: Final = "docker.io"
_API_HOSTS: Final = {DOCKER_HUB: "registry-1.docker.io"}
_PORTS: Final = {"http": 80, "https": 443}


@frozen
class Origin:
    """Scheme, host and port: what credentials are bound to, and what a connection is pooled by."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises ProtocolError for what is no absolute http(s) URL."""
        try:
            parts = urlsplit(url if url.isascii() and url.isprintable() and " " not in url else "")
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise errors.ProtocolError(f"{redact(url)!r} is not an http or https URL", url=redact(url))
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])

    @property
    def netloc(self) -> str:
        """As a Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def base_url(host: str, *, insecure: bool) -> str:
    """`https://host`, or `http://host` for a registry without TLS; Docker Hub's API has a name of its own."""
    return f"{'http' if insecure else 'https'}://{_API_HOSTS.get(host, host)}"


def resolve(request_url: str, location: str) -> str:
    """A Location as the specification has it: absolute or relative to the request, its query kept byte for byte."""
    try:
        resolved = urljoin(request_url, location.partition("#")[0]) if location and location.isprintable() else ""
        Origin.of(resolved)
    except (ValueError, errors.ProtocolError):
        shown = redact(request_url)
        raise errors.ProtocolError(f"{shown} answered without a usable Location", url=shown) from None
    return resolved


def in_ascii(url: str, encoding: str = "utf-8") -> str:
    """`url` with what is not ASCII in its path and query percent-encoded (RFC 3987, 3.1), as browsers ask for it."""
    found = (char if char.isascii() else quote(char.encode(encoding, "surrogateescape")) for char in url)
    return "".join(found)


def with_query(url: str, name: str, value: str) -> str:
    """`url` with one more parameter, what it has left untouched."""
    return f"{url}{'&' if '?' in url else '?'}{name}={quote(value, safe='')}"


def redact(url: str) -> str:
    """`url` without user info and query: either may carry a secret (signed storage URLs do)."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:512]
    except ValueError:
        return "(not a URL)"


def is_loopback(host: str) -> bool:
    """For host[:port] that names this machine itself."""
    name = re.sub(r":\d+$", "", host).strip("[]") if not host.count(":") > 1 or "]" in host else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
