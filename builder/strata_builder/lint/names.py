"""Names: which are near to another, and which are those of a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_NEAR = 3
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_LONGEST = 200


def is_secret(name: str) -> bool:
    """Whether a variable of that name probably holds a secret."""
    return _SECRET.search(name) is not None and _HARMLESS.search(name) is None


def quoted(name: str) -> str:
    """In double quotes, with what cannot be seen escaped."""
    return json.dumps(name, ensure_ascii=False)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The first of the nearest known names, at most two letters away; empty for none."""
    best, least = "", _NEAR
    for candidate in known:
        if candidate == name:
            return ""
        # The comparison is quadratic, and far apart what differs much in length.
        if abs(len(candidate) - len(name)) < least and len(name) <= _LONGEST:
            distance = _distance(name, candidate)
            if distance < least:
                best, least = candidate, distance
    return best


def _distance(one: str, other: str) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, start=1):
        before, row[0] = row[0], number
        for position, against in enumerate(other, start=1):
            before, row[position] = (
                row[position],
                min(row[position] + 1, row[position - 1] + 1, before + (char != against)),
            )
    return row[-1]
