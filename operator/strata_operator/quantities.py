"""Quantities of Kubernetes as numbers. Pure."""

from __future__ import annotations

import decimal
import re
from collections.abc import Mapping
from typing import Final

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)([A-Za-z]*|[eE][+-]?[0-9]+)")
_SUFFIXES: Final[Mapping[str, decimal.Decimal]] = {
    "": decimal.Decimal(1),
    **{
        letter: decimal.Decimal(1000) ** power
        for power, letter in zip((-3, -2, -1, 1, 2, 3, 4, 5, 6), "numkMGTPE", strict=True)
    },
    **{f"{letter}i": decimal.Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


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
