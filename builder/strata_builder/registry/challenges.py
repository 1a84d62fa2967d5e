"""The WWW-Authenticate header (RFC 9110 §11.6.1): several challenges in one value, quoted strings with commas, any
case. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from strata_builder.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_PIECE = re.compile(
    rf"\s*(?:,|(?P<name>{_TOKEN})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,\"]*))|(?P<scheme>{_TOKEN})(?=\s|,|$))"
)
_MAX = 16 << 10


@frozen
class Challenge:
    """`scheme` and the names of `params` are in lower case."""

    scheme: str
    params: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str:
        return dict(self.params).get(name, "")


def parse(values: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of all header values in order. What cannot be read ends that value; nothing is raised."""
    return tuple(challenge for value in values for challenge in _parse_one(value[:_MAX]))


def _parse_one(value: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(value) and (match := _PIECE.match(value, position)):
        position = match.end()
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        elif match["name"] and found:
            quoted = match["quoted"]
            text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["plain"]
            found[-1][1].setdefault(match["name"].lower(), text)
    return [Challenge(scheme, tuple(params.items())) for scheme, params in found]
