"""The results as tables, ratios first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench import builders, costs, results, scenarios
from bench.results import median

MADE = Mapping[str, results.Measured]
"""What was measured, by letter."""

OURS = "strata"
LARGEST = 1.15
"""A result counts only with layers of at most so many times the peer's bytes."""
UNHEEDED = 100_000
"""Bytes by which layers may differ in any case: those of a single small file are headers and little else."""

_BESIDE = {"strata-zstd": "strata-zstd", "buildkit-zstd": "strata-zstd"}
_LEFT = ("scenario", "builder")
_RATIOS = ("wall / ours", "CPU / ours", "our layers / theirs")
_FIGURES = (
    ("wall s", lambda cost: cost.wall, 2),
    ("CPU s", lambda cost: cost.cpu, 2),
    ("peak MB", lambda cost: cost.memory / 1e6, 0),
    ("disk MB", lambda cost: cost.disk / 1e6, 0),
    ("up MB", lambda cost: cost.up / 1e6, 1),
    ("down MB", lambda cost: cost.down / 1e6, 1),
    ("moved again MB", lambda cost: cost.moved / 1e6, 1),
    ("requests", lambda cost: cost.requests, 0),
    ("layers MB", lambda cost: cost.stored / 1e6, 1),
    ("registry CPU s", lambda cost: cost.registry_cpu, 2),
)


def beside(name: str) -> str:
    """Which of ours a builder is compared with: zstd with zstd, gzip with gzip."""
    return _BESIDE.get(name, OURS)


def wall(found: Sequence[costs.Cost]) -> float:
    return typical(found, lambda cost: cost.wall)


def cpu(found: Sequence[costs.Cost]) -> float:
    return typical(found, lambda cost: cost.cpu)


def typical(found: Sequence[costs.Cost], pick: Callable[[costs.Cost], float]) -> float:
    """The median; of a row of builds, whose builds are not alike, the mean."""
    return sum(map(pick, found)) / len(found) if len(found) >= scenarios.ROW else median(found, pick)


def layers(ours: Sequence[costs.Cost], theirs: Sequence[costs.Cost]) -> float:
    """Our layers' bytes as a multiple of theirs; 1 where neither has any."""
    mine, other = _stored(ours), _stored(theirs)
    return mine / other if other else 1.0


def counts(ours: Sequence[costs.Cost], theirs: Sequence[costs.Cost]) -> bool:
    """Whether our layers are small enough beside theirs."""
    return _stored(ours) <= LARGEST * _stored(theirs) + UNHEEDED


def _stored(found: Sequence[costs.Cost]) -> float:
    return median(found, lambda cost: cost.stored)


def table(made: MADE) -> str:
    """Medians of the rounds in Markdown; a builder's ratio says how many times what Strata takes it took."""
    heads = (*_LEFT, *_RATIOS, *(name for name, _, _ in _FIGURES))
    lines = [row(heads), row(["---", "---", *["--:"] * (len(heads) - 2)])]
    for key, measured in made.items():
        title = f"**{key}** {scenarios.title(key)}"
        for name in sorted(measured.rounds, key=order):
            found = measured.rounds[name]
            ours = measured.rounds.get(beside(name))
            lines.append(row([title, name, *_ratios(found, ours), *_figures(found)]))
            title = ""
        lines += [row([title, name, why, *[""] * (len(heads) - 3)]) for name, why in measured.skipped.items()]
    return "\n".join(lines) + "\n"


def order(name: str) -> int:
    """Where it stands among the builders."""
    return builders.NAMES.index(name)


def _ratios(found: Sequence[costs.Cost], ours: Sequence[costs.Cost] | None) -> list[str]:
    if not ours:
        return ["", "", ""]
    shown = f"{layers(ours, found):.2f}" + ("" if counts(ours, found) else ", too large to count")
    return [f"{wall(found) / wall(ours):.2f}", f"{cpu(found) / cpu(ours):.2f}", shown]


def _figures(found: Sequence[costs.Cost]) -> list[str]:
    return [f"{typical(found, pick):.{digits}f}" for _, pick, digits in _FIGURES]


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def memory(found: Sequence[costs.Cost]) -> float:
    """Peak memory in MB."""
    return typical(found, lambda cost: cost.memory / 1e6)
