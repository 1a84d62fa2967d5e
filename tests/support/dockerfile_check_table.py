"""The table of tests/golden/checks: a Dockerfile, perhaps a .dockerignore, and the warnings that it must get."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

TABLE = pathlib.Path(__file__).parents[1] / "golden" / "checks" / "table.txt"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    source: bytes
    ignore: bytes
    warnings: list[str]


def cases() -> list[Case]:
    """The rows, in order."""
    return [_case(section) for section in TABLE.read_text(encoding="utf-8").split("\n=== ")[1:]]


def _case(section: str) -> Case:
    name, _, rest = section.partition("\n")
    rest, _, warnings = rest.partition("--- warnings")
    source, _, ignore = rest.partition("--- ignore\n")
    return Case(name, source.encode(), ignore.encode(), warnings.split("\n")[1:] if warnings.strip() else [])


def shown(found: list[tuple[str, str, int, int]]) -> list[str]:
    """Warnings as the table has them."""
    return [
        f"{end if rule == 'NoEmptyContinuation' else start}: {rule}: {message}" for rule, message, start, end in found
    ]
