"""EXPOSE: words -> single ports. A range must be spelt out: engines refuse a config that holds 8000-8002/tcp."""

from __future__ import annotations

from collections.abc import Iterable

from strata_builder.dockerfile.faults import Fault

_PROTOCOLS = ("tcp", "udp", "sctp")
_HINT = "write PORT, PORT/udp or FIRST-LAST, with ports from 0 to 65535 and tcp, udp or sctp"


def expand_ports(words: Iterable[str]) -> tuple[str, ...]:
    """8000-8002 -> 8000/tcp, 8001/tcp, 8002/tcp; each port once, in order of appearance. Raises Fault."""
    return tuple(dict.fromkeys(port for word in words for port in _ports(word)))


def _ports(word: str) -> list[str]:
    # Docker accepts [ip:]host:container here and keeps the container's port.
    numbers, _, protocol = word.rpartition(":")[2].partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise Fault(f"EXPOSE {word}: there is no protocol {protocol!r}", about=word, hint=_HINT)
    first, dash, last = numbers.partition("-")
    low, high = _port(first, word), _port(last if dash else first, word)
    if high < low:
        raise Fault(f"EXPOSE {word}: the range ends before it starts", about=word, hint=_HINT)
    return [f"{port}/{protocol}" for port in range(low, high + 1)]


def _port(digits: str, word: str) -> int:
    if not digits or digits.strip("0123456789") or len(digits) > 9 or int(digits) > 65535:
        raise Fault(f"EXPOSE {word}: {digits!r} is no port", about=word, hint=_HINT)
    return int(digits)
