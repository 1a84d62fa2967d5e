"""Resources of containers: the spec's over the chart's, never a request above its limit. Pure."""

from __future__ import annotations

import decimal
import re
from collections.abc import Mapping
from typing import Any, Final

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)([A-Za-z]*|[eE][+-]?[0-9]+)")
_SUFFIXES: Final[Mapping[str, decimal.Decimal]] = {
    "": decimal.Decimal(1),
    **{
        letter: decimal.Decimal(1000) ** power
        for power, letter in zip((-3, -2, -1, 1, 2, 3, 4, 5, 6), "numkMGTPE", strict=True)
    },
    **{f"{letter}i": decimal.Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def merged(
    wanted: Mapping[str, Any], *, requests: Mapping[str, str], limits: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """`wanted` as in a container's `resources`, filled up with the defaults that do not contradict it."""
    asked = {key: str(value) for key, value in (wanted.get("requests") or {}).items()}
    bounded = {key: str(value) for key, value in (wanted.get("limits") or {}).items()}
    raised = {k: v for k, v in asked.items() if k in limits and amount(v) > amount(limits[k])}
    lowered = {k: v for k, v in bounded.items() if k in requests and amount(v) < amount(requests[k])}
    return {"requests": {**requests, **lowered, **asked}, "limits": {**limits, **raised, **bounded}}


def contradict(found: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether `found`, as of `merged`, requests more than it may have: only a spec does that, which names both."""
    limits = found["limits"]
    return any(amount(value) > amount(limits[key]) for key, value in found["requests"].items() if key in limits)


def amount(text: str) -> decimal.Decimal:
    """The number that a Kubernetes quantity stands for. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = found[1], found[2]
    try:
        if suffix[:1] in ("e", "E") and len(suffix) > 1:
            return decimal.Decimal(number + suffix)
        return decimal.Decimal(number) * _SUFFIXES[suffix]
    except (decimal.InvalidOperation, KeyError) as e:
        raise ValueError(f"{text!r} is not a quantity") from e
