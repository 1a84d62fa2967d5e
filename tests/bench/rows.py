"""A row of builds one after another: what all take together, how that moves, and what is kept."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from bench import costs, report, results

AROUND = 10
"""A build is shown as the median of so many."""


def kept(found: Sequence[costs.Cost]) -> list[float]:
    """MB that lie in the registry and in the builder's folder after each build, without the base."""
    grown = itertools.accumulate(cost.grown for cost in found)
    return [(registry + cost.state) / 1e6 for registry, cost in zip(grown, found, strict=True)]


def smooth(values: Sequence[float]) -> list[float]:
    """Medians of AROUND neighbours."""
    return [statistics.median(values[max(0, at - AROUND + 1) : at + 1]) for at in range(len(values))]


def table(measured: results.Measured) -> str:
    """Totals and growth in Markdown."""
    heads = [
        *("builder", "total s", "a build s", "median s", "total CPU s", "first 20 s", "last 20 s"),
        *("registry MB", "own folder MB", "registry kB a build, last 100"),
    ]
    lines = [report.row(heads), report.row(["---", *["--:"] * (len(heads) - 1)])]
    lines += [report.row([name, *_cells(found)]) for name, found in measured.rounds.items() if found]
    return "\n".join(lines) + "\n"


def _cells(found: Sequence[costs.Cost]) -> list[str]:
    walls, grown = [cost.wall for cost in found], [cost.grown for cost in found]
    late = grown[-100:]
    return [
        f"{sum(walls):.1f}",
        f"{sum(walls) / len(walls):.2f}",
        f"{statistics.median(walls):.2f}",
        f"{sum(cost.cpu for cost in found):.1f}",
        f"{statistics.median(walls[:20]):.2f}",
        f"{statistics.median(walls[-20:]):.2f}",
        f"{sum(grown) / 1e6:.1f}",
        f"{found[-1].state / 1e6:.1f}",
        f"{sum(late) / len(late) / 1e3:.0f}",
    ]
