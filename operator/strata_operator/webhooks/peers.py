"""Who delivers: the address that limits are kept for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from aiohttp import web

_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class Peers:
    """`trusted` are CIDR blocks of proxies whose X-Forwarded-For counts: the last address in it that is not theirs.

    A proxy may add a line of its own below the one that the client has sent: all are one list (RFC 9110 §5.3).
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(block) for block in trusted)

    def of(self, request: web.Request) -> str:
        """An address, or a group of them that one customer of a network has (IPv6: a /64)."""
        peer = _address(request.remote or "")
        for text in reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(",")):
            if peer is None or not any(peer in block for block in self._trusted):
                break
            before = _address(_without_port(text.strip()))
            if before is None:
                break
            peer = before
        if isinstance(peer, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((peer, 64), strict=False))
        return str(peer)


def _without_port(text: str) -> str:
    """Some load balancers name the client's port as well: 192.0.2.1:51234, [2001:db8::1]:51234."""
    found = _WITH_PORT.fullmatch(text)
    return (found[1] or found[2]) if found else text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
