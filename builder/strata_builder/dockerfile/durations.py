"""Go's time.ParseDuration: 1h30m, 1.5s, 300ms -> nanoseconds. Pure."""

from __future__ import annotations

import re

from strata_builder.dockerfile.faults import Fault

_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 40
_MAXIMUM = 2**63 - 1
_MINIMUM = 10**6


def parse(flag: str, value: str) -> int:
    """Nanoseconds of the flag's value; 0 or at least a millisecond, as Docker wants it. Raises Fault."""
    total = _total(value)
    if total is None or total > _MAXIMUM:
        raise Fault(f"--{flag} is a duration such as 30s or 1m30s, not {value!r}", about=value or f"--{flag}")
    if total and total < _MINIMUM:
        raise Fault(f"--{flag} cannot be less than 1ms", about=value)
    return total


def _total(value: str) -> int | None:
    from fractions import Fraction  # which takes as long to import as a Dockerfile to parse

    negative = value.startswith("-")
    rest = value[1:] if value[:1] in ("-", "+") else value
    if rest == "0":
        return 0
    total, position = Fraction(0), 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None or not (match[1] or match[2]) or len(rest) > _LONGEST:
            return None
        fraction = match[2] or ""
        total += Fraction(int((match[1] + fraction) or "0"), 10 ** len(fraction)) * _UNITS[match[3]]
        position = match.end()
    return None if not rest or (negative and total) else int(total)
