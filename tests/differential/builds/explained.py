"""The table of known differences, explained.toml: which case, what differs, and why."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parents[1] / "explained.toml"
KINDS = frozenset({"decision", "fault"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """`differences` are exactly the lines found; a `decision` stays, a `fault` is to be mended in Strata."""

    differences: tuple[str, ...]
    why: str
    kind: str


def read(path: Path = TABLE) -> dict[str, Explanation]:
    """The explanations by case.

    Raises:
        ValueError: an entry lacks something, or a case is explained twice.
    """
    return parse(tomllib.loads(path.read_text()))


def parse(table: Mapping[str, object]) -> dict[str, Explanation]:
    """As `read`, of the table's content."""
    found: dict[str, Explanation] = {}
    items = table.get("explained", [])
    if not isinstance(items, list) or table.keys() - {"explained"}:
        raise ValueError("the table has [[explained]] entries and nothing else")
    for item in items:
        case, kind, why, lines = (item.get(key) for key in ("case", "kind", "why", "differences"))
        if not (case and why and lines and kind in KINDS):
            raise ValueError(f"{item}: an entry needs case, kind ({' or '.join(sorted(KINDS))}), why and differences")
        if case in found:
            raise ValueError(f"{case} is explained twice")
        found[case] = Explanation(tuple(lines), why, kind)
    return found


def verdict(found: list[str], explanation: Explanation | None) -> str:
    """Empty where `found` is what the table says; else what a developer must know."""
    expected = explanation.differences if explanation else ()
    new = [line for line in found if line not in expected]
    gone = [line for line in expected if line not in found]
    parts = [f"not explained: {line}" for line in new] + [f"explained, but no longer so: {line}" for line in gone]
    return "\n".join(parts)
