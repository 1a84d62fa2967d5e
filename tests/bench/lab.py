"""Runs scenarios: every round builds with each builder in turn, so that the machine's moods hit all alike."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench import builders, costs, scenarios
from differential.builds import bases
from strata_builder.oci import manifest
from strata_builder.registry.client import Registry
from support.registry_process import RegistryProcess

_REQUEST = re.compile(r'"(?:GET|HEAD|POST|PUT|PATCH|DELETE) /v2/')

Costs = dict[str, list[costs.Cost]]
"""What each round took, by builder."""


@dataclass
class Lab:
    """A registry and what is counted of it. `folder` is scratch on tmpfs, `node` holds the programs `registry` and
    `runc`; `say` tells how it goes."""

    folder: Path
    node: Path
    say: Callable[[str], None]
    _bases: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._registry = stack.enter_context(RegistryProcess(self.node / "registry"))
            self.host = self._registry.host
            bases.push_testbase(self.host, self.folder / "testbase")
            self._traffic = stack.enter_context(costs.Traffic(int(self.host.partition(":")[2])))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, wanted: scenarios.Scenario, names: list[str], rounds: int) -> Costs:
        """Builds it `rounds` times with each of the builders."""
        with (
            self._folder("context") as context,
            builders.all_of(self.host, self.node / "runc", names) as made,
        ):
            wanted.write(context)
            if wanted.base not in self._bases:
                self.push_base(wanted.base)
            return _Course(self, wanted, context, made).run(rounds)

    def measured(self, builder: builders.Builder, job: builders.Job) -> costs.Cost:
        """What one build takes."""
        before = self._counted(builder)
        with builder.group.watched():
            start = costs.now()
            builder.build(job)
            wall = costs.now() - start
        after = self._counted(builder)
        cpu, up, down, requests, registry = (b - a for a, b in zip(before, after, strict=True))
        stored = self._stored(job.image)
        return costs.Cost(wall, cpu, builder.group.peak, int(up), int(down), int(requests), registry, stored)

    def _counted(self, builder: builders.Builder) -> tuple[float, ...]:
        up, down = self._traffic.bytes("up"), self._traffic.bytes("down")
        requests = len(_REQUEST.findall(self._registry.log))
        return builder.group.cpu(), up, down, requests, costs.process_cpu(self._registry.pid)

    def _stored(self, image: str) -> int:
        """Bytes of the image's layers, of the first platform where it is an index."""
        repository, _, tag = image.removeprefix(f"{self.host}/").rpartition(":")
        with contextlib.closing(Registry(self.host, insecure=True)) as registry:
            found = registry.manifest(repository, tag)
            body = json.loads(found.data)
            if "manifests" in body:
                found = registry.manifest(repository, body["manifests"][0]["digest"])
            return sum(layer.size for layer in manifest.parse_manifest(found.data, found.media_type).layers)

    def base(self, name: str) -> str:
        """The reference of a base."""
        return f"{self.host}/bases/{name.replace(' ', '-').lower()}:latest"

    def push_base(self, name: str, more: str = "") -> None:
        """Its files come from `scenarios`; `more` are further lines of its Dockerfile."""
        with self._folder("base") as context, builders.all_of(self.host, self.node / "runc", ["strata"]) as (strata,):
            scenarios.write_base(name, context)
            (context / "Dockerfile").write_text(scenarios.base_dockerfile(name).format(host=self.host) + more)
            strata.build(builders.Job(context, self.base(name), f"{self.host}/bases/cache:latest"))
        self._bases.add(name)

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[Path]:
        made = self.folder / name
        made.mkdir()
        try:
            yield made
        finally:
            shutil.rmtree(made)


@dataclass
class _Course:
    """One scenario's builds."""

    lab: Lab
    wanted: scenarios.Scenario
    context: Path
    made: list[builders.Builder]

    def run(self, rounds: int) -> Costs:
        found: Costs = {builder.name: [] for builder in self.made}
        if self.wanted.primed:
            for builder in self.made:
                builder.between(cold=True)
                builder.build(self._job(builder, 0))
        for number in range(1, rounds + 1):
            self._change(number)
            first = number % len(self.made)
            for builder in self.made[first:] + self.made[:first]:
                self._before(builder)
                cost = self.lab.measured(builder, self._job(builder, number))
                found[builder.name].append(cost)
                self.lab.say(f"round {number}  {builder.name:<15} {cost.wall:7.2f} s {cost.cpu:7.2f} cpu-s")
        return found

    def _change(self, number: int) -> None:
        if self.wanted.new_base:
            self.lab.push_base(self.wanted.base, f"LABEL round={number}\n")
        if self.wanted.changes:
            (self.context / self.wanted.changes).write_text(f"round {number}\n")

    def _before(self, builder: builders.Builder) -> None:
        """A builder that keeps what it has learnt has the base, unless that is what the scenario is about."""
        builder.between(cold=not self.wanted.primed)
        if builder.keeps and not self.wanted.primed and not self.wanted.unseen:
            warm = self.lab.folder / "warm"
            warm.mkdir(exist_ok=True)
            (warm / "Dockerfile").write_text(f"FROM {self.lab.base(self.wanted.base)}\nRUN true\n")
            image = f"{self.lab.host}/warm/{builder.name}"
            builder.build(builders.Job(warm, f"{image}:1", f"{image}:cache"))

    def _job(self, builder: builders.Builder, number: int) -> builders.Job:
        """In a primed scenario all rounds are one project with one cache; else each is a project of its own."""
        nonce = "primed" if self.wanted.primed else f"{builder.name} {number}"
        text = self.wanted.dockerfile.format(base=self.lab.base(self.wanted.base), nonce=nonce)
        if self.wanted.linked and builder.links:
            text = text.replace("COPY ", "COPY --link ")
        (self.context / "Dockerfile").write_text(text)
        project = f"{self.lab.host}/bench/{builder.name}" + ("" if self.wanted.primed else f"-{number}")
        return builders.Job(self.context, f"{project}:{number}", f"{project}:cache")
