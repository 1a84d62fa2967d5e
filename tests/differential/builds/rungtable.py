"""The table of cases that do not give the same image in each rung, rungs.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from differential.builds import compare, strata
from differential.builds.rungs import Outcome

TABLE = Path(__file__).parents[1] / "rungs.toml"
DOCUMENT = Path(__file__).parents[3] / "docs/decisions.md"
NEEDED = ("case", "rung", "exception")
_SECTION = re.compile(r"^## The same in every rung.*?(?=^## )", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Known:
    """In that rung the case is refused with these words; or, where `refused` is empty, its image is another. `exception`
    is which of the list in docs/decisions.md this is a case of."""

    refused: str
    exception: str


Table = Mapping[tuple[str, str], Known]
"""By case and rung."""


def read(path: Path = TABLE) -> Table:
    """Raises ValueError for an entry that lacks something, or is there twice."""
    found: dict[tuple[str, str], Known] = {}
    for item in tomllib.loads(path.read_text()).get("known", []):
        if not (item.keys() <= {*NEEDED, "refused"} and all(item.get(key) for key in NEEDED)):
            raise ValueError(f"{item}: an entry needs {', '.join(NEEDED)}, and may have refused")
        if (key := (item["case"], item["rung"])) in found:
            raise ValueError(f"{key} is explained twice")
        found[key] = Known(item.get("refused", ""), item["exception"])
    return found


def unasked(path: Path = TABLE) -> frozenset[str]:
    """Cases that no pod can be asked for."""
    return frozenset(tomllib.loads(path.read_text())["unasked"]["cases"])


def documented(text: str) -> list[str]:
    """The exceptions that the document lists, each in bold at the beginning of its item."""
    section = _SECTION.search(text)
    return re.findall(r"^- \*\*(.+?)\*\*", section[0], re.MULTILINE) if section else []


def verdict(first: Outcome, other: Outcome, known: Known | None) -> str:
    """Empty where `other` is what `first` is, or what is known of it; else what a developer must know."""
    alike = (first.digest, first.refused) == (other.digest, other.refused)
    if known is None:
        return "" if alike else _shown(first, other)
    if alike:
        return f"{other.rung}: explained, but no longer so"
    if known.refused and known.refused not in other.refused:
        return f"{other.rung}: known to be refused with {known.refused!r}\n{_shown(first, other)}"
    return f"{other.rung}: known to be built\n{_shown(first, other)}" if not known.refused and not other.digest else ""


def _shown(first: Outcome, other: Outcome) -> str:
    lines = [f"{one.rung}: {one.digest or 'refused: ' + one.refused}" for one in (first, other)]
    if first.image and other.image:
        found = compare.differences(first.image, other.image, strata.EPOCH)
        lines += [line.replace("BuildKit", other.rung).replace("Strata", first.rung) for line in found]
    return "\n".join(lines)
