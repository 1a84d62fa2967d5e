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
    """The lines in Markdown: what nothing costs, and each of the unit."""
    heads = ("", "size", "builder", "wall s + ms each", "off", "CPU s + ms each", "off", "peak MB + kB each", "off")
    lines = [report.row(heads), report.row(["---", "---", "---", *["--:"] * 6])]
    for key, sizes in growth.items():
        for name in ("strata", "buildkit"):
            if len(points(sizes, name, report.wall)) > 1:
                unit = scenarios.FAMILIES[key].unit
                lines.append(
                    report.row([f"**{key}**", f"{min(sizes):,} to {max(sizes):,} {unit}", name, *_cells(sizes, name)])
                )
    return "\n".join(lines) + "\n"


def bends(growth: Growth) -> str:
    """A line of Markdown for each series that is not straight."""
    found = [
        f"- **{key}** {name}, {what}: {100 * line.off:.0f} %"
        for key, sizes in growth.items()
        for name in ("strata", "buildkit")
        for what, pick in (("wall", report.wall), ("CPU", report.cpu), ("memory", report.memory))
        if len(at := points(sizes, name, pick)) > 1 and not (line := fit(at)).straight
    ]
    return "\n".join(found or ["- none"]) + "\n"


def _cells(sizes: Mapping[int, results.Measured], name: str) -> Sequence[str]:
    cells = []
    for pick in (report.wall, report.cpu, report.memory):
        line = fit(points(sizes, name, pick))
        cells += [f"{line.start:.2f} + {_thousands(line.slope)}", f"{100 * line.off:.0f} %"]
    return cells


def _thousands(slope: float) -> str:
    """In thousandths, to about three digits."""
    return f"{1000 * slope:,.0f}" if abs(slope) >= 0.1 else f"{1000 * slope:.2g}"
