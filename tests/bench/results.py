"""What was measured, as it is kept: added to after every build, so that a run goes on where another one ended."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import costs, scenarios

Rounds = dict[str, list[costs.Cost]]
"""What each round took, by builder."""


@dataclass
class Measured:
    """Of one scenario, or of one of its sizes."""

    rounds: Rounds = field(default_factory=dict)
    entries: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def missing(self, names: Iterable[str], rounds: int) -> dict[str, int]:
        """How many rounds each builder still lacks."""
        return {name: max(0, rounds - len(self.rounds.get(name, ()))) for name in names}

    def add(self, other: Measured) -> None:
        """What another run has measured of the same."""
        for name, found in other.rounds.items():
            self.rounds.setdefault(name, []).extend(found)
        self.entries = self.entries or other.entries
        self.skipped = {k: v for k, v in {**self.skipped, **other.skipped}.items() if k not in self.rounds}


@dataclass
class Results:
    """`scenarios` by letter, `growth` by letter and size, `start` and `images` of `bench.absolute`, `profiles` of
    `bench.profiles` by letter and builder, `machine` where they were measured, `parts` the day and commit of each run that
    had a part in it."""

    machine: str = ""
    parts: list[str] = field(default_factory=list)
    scenarios: dict[str, Measured] = field(default_factory=dict)
    growth: dict[str, dict[int, Measured]] = field(default_factory=dict)
    start: dict[str, list[float]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    profiles: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def begin(self) -> None:
        """A run adds to them from now on."""
        self.machine = machine()
        if (part := _part()) not in self.parts:
            self.parts.append(part)

    def of(self, key: str, size: int | None = None) -> Measured:
        """What is known of a scenario, or of one of its sizes; new where nothing is."""
        if size is None:
            return self.scenarios.setdefault(key, Measured())
        return self.growth.setdefault(key, {}).setdefault(size, Measured())

    def add(self, other: Results) -> None:
        """What another run has measured."""
        self.machine = self.machine or other.machine
        self.parts += [part for part in other.parts if part not in self.parts]
        for key, found in other.scenarios.items():
            if (
                key in scenarios.SCENARIOS and scenarios.SCENARIOS[key].row
            ):  # a row is one thing, not rounds to be added to
                self.scenarios[key] = found
            else:
                self.of(key).add(found)
        for key, sizes in other.growth.items():
            for size, found in sizes.items():
                self.of(key, size).add(found)
        self.start |= other.start
        self.images |= other.images
        self.profiles |= other.profiles

    def write(self, file: Path) -> None:
        """Whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(json.dumps(asdict(self), indent=0) + "\n")
        fresh.rename(file)


def read(file: Path) -> Results:
    """Those of `write`; none where there is no file."""
    if not file.exists():
        return Results()
    kept = json.loads(file.read_text())
    return Results(
        kept["machine"],
        kept["parts"],
        {key: _measured(found) for key, found in kept["scenarios"].items()},
        {key: {int(size): _measured(one) for size, one in by.items()} for key, by in kept["growth"].items()},
        kept["start"],
        kept["images"],
        kept.get("profiles", {}),
    )


def merged(files: Iterable[Path]) -> Results:
    """Of several runs."""
    together = Results()
    for file in files:
        together.add(read(file))
    return together


def _measured(kept: Mapping[str, Any]) -> Measured:
    rounds = {name: [costs.Cost(**cost) for cost in found] for name, found in kept["rounds"].items()}
    return Measured(rounds, kept["entries"], kept["skipped"])


def median(found: Iterable[costs.Cost], pick: Callable[[costs.Cost], float]) -> float:
    return statistics.median(map(pick, found))


def machine() -> str:
    """What this runs on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    count = sum(line.startswith("processor") for line in lines)
    memory = int(next(iter(Path("/proc/meminfo").read_text().splitlines())).split()[1]) / 2**20
    return f"{count} × {model}, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def _part() -> str:
    """Of what is measured: changed files elsewhere, such as the figures themselves, do not count."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/builder", ":/tests")
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
