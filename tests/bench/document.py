"""docs/benchmarks.md: the words of benchmarks.md.in, with tables and plots of what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bench import absolute, growth, profiles, report, results, rows, scenarios, targets

_SECTION = re.compile(r"^@when (\w+)@\n(.*?)^@end@\n", re.MULTILINE | re.DOTALL)
TEMPLATE = Path(__file__).with_name("benchmarks.md.in")


def write(found: results.Results, folder: Path, *, plots: bool) -> None:
    """The PNGs in `folder`; the page beside it, named as it is."""
    if plots:
        from bench import plots as drawing

        drawing.draw(found, folder)
    folder.with_suffix(".md").write_text(text(found))


def text(found: results.Results) -> str:
    """The page. A line `@name@` of the template stands for one of PARTS; what is between `@when name@` and `@end@` is there
    only if that of SECTIONS was measured."""
    words = _SECTION.sub(lambda place: place[2] if SECTIONS[place[1]](found) else "", TEMPLATE.read_text())
    return re.sub(r"^@(\w+)@\n", lambda place: PARTS[place[1]](found), words, flags=re.MULTILINE)


def _machine(found: results.Results) -> str:
    parts = "; ".join(found.parts)
    apart = "" if len(found.parts) == 1 else ", measured apart and put together"
    return f"{found.machine}. Measured: {parts}{apart}.\n"


def _row(found: results.Results) -> str:
    return rows.table(found.scenarios["l"]) if "l" in found.scenarios else ""


def _missing(found: results.Results) -> str:
    absent = [f"{key} ({one.title})" for key, one in scenarios.SCENARIOS.items() if key not in found.scenarios]
    absent += [] if found.growth else ["growth"]
    return f"Not measured: {'; '.join(absent)}.\n" if absent else ""


SECTIONS: dict[str, Callable[[results.Results], bool]] = {
    "row": lambda found: "l" in found.scenarios,
    "growth": lambda found: bool(found.growth),
    "profiles": lambda found: bool(found.profiles),
}
PARTS: dict[str, Callable[[results.Results], str]] = {
    "machine": _machine,
    "missing": _missing,
    "scenarios": lambda found: report.table(found.scenarios),
    "targets": lambda found: targets.table(found.scenarios),
    "absolute": absolute.table,
    "start": absolute.start,
    "row": _row,
    "bends": lambda found: growth.bends(found.growth),
    "growth": lambda found: growth.table(found.growth),
    "profiles": lambda found: profiles.table(found.profiles),
}
