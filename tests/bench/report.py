"""The results as a table, ratios first."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import costs

Results = Mapping[str, Mapping[str, Sequence[costs.Cost]]]
"""Scenario -> builder -> the cost of each round."""

_OURS = "strata"
_HEAD = ("scenario", "builder", "wall / ours", "CPU / ours", "wall s", "CPU s", "peak MB", "up MB", "down MB")
_TAIL = ("requests", "registry CPU s", "layers MB")


def table(results: Results, titles: Mapping[str, str]) -> str:
    """Medians of the rounds in Markdown; a builder's ratio says how many times what Strata takes it took."""
    lines = [_row((*_HEAD, *_TAIL)), _row(["---", "---", *["--:"] * (len(_HEAD) + len(_TAIL) - 2)])]
    for key, builders in results.items():
        ours = median(builders[_OURS], lambda cost: cost.wall), median(builders[_OURS], lambda cost: cost.cpu)
        for name, found in builders.items():
            title = f"**{key}** {titles[key]}" if name == _OURS else ""
            lines.append(_row([title, name, *_cells(found, ours)]))
    return "\n".join(lines) + "\n"


def _cells(found: Sequence[costs.Cost], ours: tuple[float, float]) -> list[str]:
    wall, cpu = median(found, lambda cost: cost.wall), median(found, lambda cost: cost.cpu)
    megabytes = [median(found, pick) / 1e6 for pick in (_memory, _up, _down)]
    return [
        f"{wall / ours[0]:.2f}",
        f"{cpu / ours[1]:.2f}",
        f"{wall:.2f}",
        f"{cpu:.2f}",
        *(f"{value:.1f}" for value in megabytes),
        f"{median(found, lambda cost: cost.requests):.0f}",
        f"{median(found, lambda cost: cost.registry_cpu):.2f}",
        f"{median(found, lambda cost: cost.stored) / 1e6:.1f}",
    ]


def _memory(cost: costs.Cost) -> float:
    return cost.memory


def _up(cost: costs.Cost) -> float:
    return cost.up


def _down(cost: costs.Cost) -> float:
    return cost.down


def median(found: Sequence[costs.Cost], pick: Callable[[costs.Cost], float]) -> float:
    return statistics.median(map(pick, found))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    count = sum(line.startswith("processor") for line in lines)
    return f"{count} × {model}, Linux {platform.release()}, Python {platform.python_version()}; everything on tmpfs."
