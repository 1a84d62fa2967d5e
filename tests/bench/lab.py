"""Runs scenarios: every round builds with each builder in turn, so that the machine's moods hit all alike."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench import bases, builders, costs, course, scenarios, scratch, storage, traffic
from strata_builder.oci import manifest
from strata_builder.registry.client import Registry

RESERVE = 1_500_000_000  # bytes of memory that nobody plans with
_LOGGED = 0.05  # seconds after which a registry has written down what it answered


@dataclass
class Outcome:
    """Of a run besides its costs: the paths in the context, the base and what its steps make; and which builders were
    left out, with the reason."""

    entries: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass
class Lab:
    """A registry and what is counted of it. `folder` is scratch on tmpfs, `node` holds the programs `registry` and
    `runc`; `say` tells how it goes."""

    folder: Path
    node: Path
    say: Callable[[str], None]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.registry = stack.enter_context(storage.BenchRegistry(self.node / "registry"))
            self.host = self.registry.host
            self.bases = bases.Bases(self.host, self.folder)
            self._traffic = stack.enter_context(traffic.Traffic(int(self.host.partition(":")[2])))
            self._log = traffic.AccessLog(self.registry.access_log)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, wanted: scenarios.Scenario, rounds: Mapping[str, int], keep: course.Keep) -> Outcome:
        """Builds it so many times with each of the builders; `keep` hears of each build as soon as it is done."""
        self.bases.push(wanted.base)
        self.registry.mark()
        names = [name for name, count in rounds.items() if count]
        with (
            contextlib.ExitStack() as ends,
            self._context() as context,
            builders.all_of(self.host, self.node / "runc", names) as made,
        ):
            ends.callback(self.registry.reset)
            wanted.write(context)
            outcome = Outcome(_entries(context) + self.bases.entries.get(wanted.base, 0) + wanted.makes)
            outcome.skipped = {one.name: why for one in made if (why := _no_room(one, wanted, context))}
            able = [one for one in made if one.name not in outcome.skipped]
            course.Course(self, wanted, context, able).run(rounds, keep)
        return outcome

    @contextlib.contextmanager
    def _context(self) -> Iterator[Path]:
        with scratch.mounted(self.folder / "context") as made:
            yield made
        made.rmdir()

    def measured(
        self, builder: builders.Builder, job: builders.Job, base: Mapping[str, int], last: Mapping[str, int]
    ) -> costs.Cost:
        """What one build takes. The registry has the layers (digest, size) of the `base` and of the `last` image."""
        self._log.read()
        before = self._counted(builder)
        with builder.group.watched():
            start = costs.now()
            builder.build(job)
            wall = costs.now() - start
        time.sleep(_LOGGED)
        cpu, up, down, registry, grown = (b - a for a, b in zip(before, self._counted(builder), strict=True))
        seen, group = self._log.read(), builder.group
        own = {digest: size for digest, size in self.layers(job.image).items() if digest not in base}
        return costs.Cost(
            wall,
            cpu,
            group.memory,
            int(up),
            int(down),
            seen.requests,
            registry,
            stored=sum(own.values()),
            disk=group.disk,
            moved=seen.moved({**base, **last}),
            grown=int(grown),
            state=scratch.used(group.home) if builder.keeps else 0,
        )

    def _counted(self, builder: builders.Builder) -> tuple[float, ...]:
        up, down = self._traffic.bytes("up"), self._traffic.bytes("down")
        return builder.group.cpu(), up, down, costs.process_cpu(self.registry.pid), self.registry.used()

    def layers(self, image: str) -> dict[str, int]:
        """Digest and size of an image's layers, of all platforms."""
        repository, _, tag = image.removeprefix(f"{self.host}/").rpartition(":")
        with contextlib.closing(Registry(self.host, insecure=True)) as registry:
            return _layers(registry, repository, tag)


def _layers(registry: Registry, repository: str, name: str) -> dict[str, int]:
    found = registry.manifest(repository, name)
    children = json.loads(found.data).get("manifests")
    if children is None:
        return {layer.digest: layer.size for layer in manifest.parse_manifest(found.data, found.media_type).layers}
    return {k: v for child in children for k, v in _layers(registry, repository, child["digest"]).items()}


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))


def _no_room(builder: builders.Builder, wanted: scenarios.Scenario, context: Path) -> str:
    """Why it cannot build this on tmpfs here: its copies of the context, and the packed layer twice, do not fit."""
    size = scratch.used(context)
    needed, there = size * (builder.copies + 2 * wanted.packs), scratch.available() - RESERVE
    return f"needs {needed / 1e9:.0f} GB of memory, and {there / 1e9:.0f} GB are there" if needed > there else ""
