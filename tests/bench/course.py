"""The builds of one scenario, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import builders, costs, scenarios

if TYPE_CHECKING:
    from bench.lab import Lab

Keep = Callable[[str, costs.Cost], None]
"""Hears of each build that was measured: whose it was, what it took."""

SELDOM = 5
"""Of the builds of one project in a row, every so many one changes what its RUN reads."""


@dataclass
class Course:
    """`made` are the builders, in the order in which they begin. `_last` has each project's layers of last time."""

    lab: Lab
    wanted: scenarios.Scenario
    context: Path
    made: list[builders.Builder]
    _last: dict[str, dict[str, int]] = field(default_factory=dict, init=False)

    def run(self, rounds: Mapping[str, int], keep: Keep) -> None:
        """Of a row all builders make all builds; else each as many as `rounds` tells."""
        self._prime()
        for number in range(1, (self.wanted.row or max(rounds.values())) + 1):
            self._change(number)
            first = number % len(self.made) if self.made else 0
            for builder in self.made[first:] + self.made[:first]:
                if self.wanted.row or number <= rounds[builder.name]:
                    keep(builder.name, self._measured(builder, number))

    def _prime(self) -> None:
        for builder in self.made if self.wanted.primed or self.wanted.row else ():
            builder.between(cold=True)
            if self.wanted.primed:
                job = self._job(builder, 0)
                builder.build(job)
                self._last[job.cache] = self.lab.layers(job.image)

    def _measured(self, builder: builders.Builder, number: int) -> costs.Cost:
        self._before(builder)
        job = self._job(builder, number)
        cost = self.lab.measured(builder, job, self.lab.bases.layers(self.wanted.base), self._last.get(job.cache, {}))
        self._last[job.cache] = self.lab.layers(job.image)
        self.lab.say(f"round {number:3}  {builder.name:<15} {cost.wall:7.2f} s {cost.cpu:7.2f} cpu-s")
        if not self.wanted.primed and not self.wanted.row:
            self.lab.registry.reset()
            builder.between(cold=True)  # what it has learnt would take the memory that the others need
        return cost

    def _change(self, number: int) -> None:
        if self.wanted.new_base:
            self.lab.bases.push(self.wanted.base, f"round {number}")
        if self.wanted.changes:
            self._write(number, self.wanted.changes, f"round {number}\n")
        if self.wanted.projects:
            self._write(number, "requirements", self._requirements(number))

    def _requirements(self, number: int) -> str:
        """Of its project alone, and seldom another one."""
        return f"{self._folder(number).name}, {number // (SELDOM * self.wanted.projects)}\n"

    def _write(self, number: int, name: str, text: str) -> None:
        (self._folder(number) / name).write_text(text)

    def _folder(self, number: int) -> Path:
        return self.context / f"project-{number % self.wanted.projects}" if self.wanted.projects else self.context

    def _before(self, builder: builders.Builder) -> None:
        """A builder that keeps what it has learnt has the base, unless that is what the scenario is about."""
        together = self.wanted.primed or bool(self.wanted.row)
        builder.between(cold=not together)
        if builder.keeps and not together and not self.wanted.unseen:
            warm = self.lab.folder / "warm"
            warm.mkdir(exist_ok=True)
            (warm / "Dockerfile").write_text(f"FROM {self.lab.bases.reference(self.wanted.base)}\nCOPY Dockerfile /\n")
            image = f"{self.lab.host}/warm/{builder.name}"
            builder.build(builders.Job(warm, f"{image}:1", f"{image}:cache", self.wanted.platforms))

    def _job(self, builder: builders.Builder, number: int) -> builders.Job:
        """In a primed scenario all rounds are one project with one cache; in a row there are some; else each is its
        own."""
        nonce = "same" if self.wanted.primed or self.wanted.row else f"{builder.name} {number}"
        base = self.lab.bases.reference(self.wanted.base)
        text = self.wanted.dockerfile.format(base=base, nonce=nonce)
        if self.wanted.linked and builder.links:
            text = text.replace("COPY ", "COPY --link ")
        folder = self._folder(number)
        (folder / "Dockerfile").write_text(text)
        project = f"{self.lab.host}/bench/{builder.name}{self._suffix(number)}"
        return builders.Job(folder, f"{project}:{number}", f"{project}:cache", self.wanted.platforms)

    def _suffix(self, number: int) -> str:
        if self.wanted.projects:
            return f"-{number % self.wanted.projects}"
        return "" if self.wanted.primed else f"-{number}"
