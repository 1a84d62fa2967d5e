"""Cost against size: series, and the straight line that fits each best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import report, results, scenarios
from bench.targets import Pick

Growth = Mapping[str, Mapping[int, results.Measured]]
Points = list[tuple[float, float]]
"""(size, cost)."""

STRAIGHT = 0.1
"""A line counts as straight that no point is farther from than such a share of the greatest cost."""


@dataclass(frozen=True, slots=True)
class Line:
    """`start` + `slope` × size; `off` is the farthest point's distance as a share of the greatest cost."""

    start: float
    slope: float
    off: float

    @property
    def straight(self) -> bool:
        return self.off <= STRAIGHT


def points(sizes: Mapping[int, results.Measured], name: str, pick: Pick) -> Points:
    """What one builder's builds cost, by size."""
    return [(size, pick(one.rounds[name])) for size, one in sorted(sizes.items()) if one.rounds.get(name)]


def fit(found: Points) -> Line:
    """The line of least squares."""
    count = len(found)
    middle, height = sum(x for x, _ in found) / count, sum(y for _, y in found) / count
    spread = sum((x - middle) ** 2 for x, _ in found)
    slope = sum((x - middle) * (y - height) for x, y in found) / spread if spread else 0.0
    start = height - slope * middle
    greatest = max(y for _, y in found)
    return Line(start, slope, max(abs(y - start - slope * x) for x, y in found) / greatest if greatest else 0.0)


def table(growth: Growth) -> str:
    """The lines in Markdown: seconds of wall and of CPU for nothing and for each thousand of the unit."""
    heads = ("", "size", "builder", "wall s", "off", "CPU s", "off", "peak MB", "off")
    lines = [report.row(heads), report.row(["---", "---", "---", *["--:"] * 6])]
    for key, sizes in growth.items():
        for name in ("strata", "buildkit"):
            if len(points(sizes, name, report.wall)) > 1:
                unit = scenarios.FAMILIES[key].unit
                lines.append(
                    report.row([f"**{key}**", f"{min(sizes):,} to {max(sizes):,} {unit}", name, *_cells(sizes, name)])
                )
    return "\n".join(lines) + "\n"


def _cells(sizes: Mapping[int, results.Measured], name: str) -> Sequence[str]:
    cells = []
    for pick in (report.wall, report.cpu, report.memory):
        line = fit(points(sizes, name, pick))
        cells += [f"{line.start:.2f} + {1000 * line.slope:.3g}/1000", f"{100 * line.off:.0f} %"]
    return cells
