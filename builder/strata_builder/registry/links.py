"""The Link header of a list that goes on (RFC 8288 §3), read in one pass whatever is in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NEXT: Final = re.compile(r"\brel\s*=\s*\"?next\b", re.IGNORECASE)


def following(values: Iterable[str]) -> str:
    """The target of the first link whose relation is "next", as it stands there; "" if there is none."""
    for link in ", ".join(values).split("<")[1:]:
        target, end, parameters = link.partition(">")
        if end and _NEXT.search(parameters):
            return target
    return ""
