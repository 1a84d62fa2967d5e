"""EXPOSE: words -> single ports. A range must be spelt out: engines refuse a config that holds 8000-8002/tcp.

As elsewhere a word may be one of `docker run -p`, [ip:]host:container, of which the container's port counts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from strata_builder.dockerfile.faults import Fault

_PROTOCOLS = ("tcp", "udp", "sctp")
# All ports of every protocol; ranges that lie over one another could otherwise ask for any amount of work.
_MAX_PORTS = 3 << 16
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_HINT = "write PORT, PORT/udp or FIRST-LAST, with ports from 0 to 65535 and tcp, udp or sctp"


def expand_ports(words: Iterable[str]) -> tuple[str, ...]:
    """8000-8002 -> 8000/tcp, 8001/tcp, 8002/tcp; each port once, in order of appearance. Raises Fault."""
    found: dict[str, None] = {}
    left = _MAX_PORTS
    for word in dict.fromkeys(words):
        ports = _ports(word)
        left -= len(ports)
        if left < 0:
            raise Fault(f"EXPOSE names more than {_MAX_PORTS} ports", about=word, hint="name each port once")
        found.update(dict.fromkeys(ports))
    return tuple(found)


def split(word: str) -> tuple[str, str, str, str]:
    """(address, host's ports, container's ports, protocol as written) of one word; what is not given is empty."""
    rest, _, container = word.rpartition(":")
    address, _, host = rest.rpartition(":")
    numbers, _, protocol = container.partition("/")
    return address, host, numbers, protocol


def _ports(word: str) -> list[str]:
    address, host, numbers, written = split(word)
    protocol = written.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise _bad(word, f"there is no protocol {written!r}")
    _check_address(address, word)
    ports = _range(numbers, word)
    if host and len(_range(host, word)) != len(ports) != 1:
        raise _bad(word, "the two ranges are not of one length")
    return [f"{port}/{protocol}" for port in ports]


def _check_address(address: str, word: str) -> None:
    plain = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        if plain:
            ipaddress.ip_address(plain)
    except ValueError:
        raise _bad(word, f"{address!r} is no IP address") from None


def _range(numbers: str, word: str) -> range:
    first, dash, last = numbers.partition("-")
    low, high = _port(first, word), _port(last if dash else first, word)
    if high < low:
        raise _bad(word, "the range ends before it starts")
    return range(low, high + 1)


def _port(digits: str, word: str) -> int:
    if not _NUMBER.fullmatch(digits) or not 0 <= int(digits) <= 65535:
        raise _bad(word, f"{digits!r} is no port")
    return int(digits)


def _bad(word: str, why: str) -> Fault:
    return Fault(f"EXPOSE {word}: {why}", about=word, hint=_HINT)
