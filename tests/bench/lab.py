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


@dataclass
class Lab:
    """`folder` is scratch on tmpfs, `node` holds the programs `registry` and `runc`; `say` tells how it goes."""

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

    def run(self, key: str, names: list[str], rounds: int) -> dict[str, list[costs.Cost]]:
        """Costs of each round by builder."""
        wanted = scenarios.SCENARIOS[key]
        context = self.folder / key
        context.mkdir()
        wanted.write(context)
        try:
            with builders.all_of(self.host, self.node / "runc", names) as made:
                return self._rounds(key, wanted, context, made, rounds)
        finally:
            shutil.rmtree(context)

    def _rounds(
        self, key: str, wanted: scenarios.Scenario, context: Path, made: list[builders.Builder], rounds: int
    ) -> dict[str, list[costs.Cost]]:
        self._base(wanted.base)
        found: dict[str, list[costs.Cost]] = {builder.name: [] for builder in made}
        if wanted.primed:
            for builder in made:
                self._write(wanted, context, builder, 0)
                builder.between(cold=True)
                builder.build(self._job(key, context, builder, 0, wanted))
        for number in range(1, rounds + 1):
            if wanted.new_base:
                self._push_base(wanted.base, f"LABEL round={number}\n")
            if wanted.changes:
                (context / wanted.changes).write_text(f"round {number}\n")
            for builder in made[number % len(made) :] + made[: number % len(made)]:
                self._write(wanted, context, builder, number)
                self._before(wanted, builder)
                cost = self._measured(builder, self._job(key, context, builder, number, wanted))
                found[builder.name].append(cost)
                self.say(f"{key} round {number} {builder.name:<15} {cost.wall:7.2f} s {cost.cpu:7.2f} cpu-s")
        return found

    def _before(self, wanted: scenarios.Scenario, builder: builders.Builder) -> None:
        """What a builder has that is there all the time: the base, where it keeps any."""
        builder.between(cold=not wanted.primed)
        if builder.keeps and not wanted.primed and wanted.base != "1 GB":
            warm = self.folder / "warm"
            warm.mkdir(exist_ok=True)
            (warm / "Dockerfile").write_text(f"FROM {self._name(wanted.base)}\nRUN true\n")
            builder.build(builders.Job(warm, f"{self.host}/warm/{builder.name}", f"{self.host}/warm/{builder.name}:c"))

    def _write(self, wanted: scenarios.Scenario, context: Path, builder: builders.Builder, number: int) -> None:
        nonce = "primed" if wanted.primed else f"{builder.name} {number}"
        text = wanted.dockerfile.format(base=self._name(wanted.base), nonce=nonce)
        if wanted.linked and builder.name.startswith("buildkit"):
            text = text.replace("COPY ", "COPY --link ")
        (context / "Dockerfile").write_text(text)

    def _job(
        self, key: str, context: Path, builder: builders.Builder, number: int, wanted: scenarios.Scenario
    ) -> builders.Job:
        """In a primed scenario all rounds are one project with one cache; else each is a project of its own."""
        project = f"{self.host}/bench-{key}/{builder.name}" + ("" if wanted.primed else f"-{number}")
        return builders.Job(context, f"{project}:{number}", f"{project}:cache")

    def _measured(self, builder: builders.Builder, job: builders.Job) -> costs.Cost:
        before = self._counted(builder)
        with builder.group.watched():
            start = costs.now()
            builder.build(job)
            wall = costs.now() - start
        after = self._counted(builder)
        cpu, up, down, requests, registry = (b - a for a, b in zip(before, after, strict=True))
        return costs.Cost(
            wall, cpu, builder.group.peak, int(up), int(down), int(requests), registry, self._stored(job.image)
        )

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

    def _name(self, base: str) -> str:
        return f"{self.host}/bases/{base.replace(' ', '-').lower()}:latest"

    def _base(self, name: str) -> None:
        if name not in self._bases:
            self._push_base(name)
            self._bases.add(name)

    def _push_base(self, name: str, more: str = "") -> None:
        with self._context(name) as context, builders.all_of(self.host, self.node / "runc", ["strata"]) as (strata,):
            (context / "Dockerfile").write_text(scenarios.base_dockerfile(name).format(host=self.host) + more)
            strata.build(builders.Job(context, self._name(name), f"{self.host}/bases/cache:latest"))

    @contextlib.contextmanager
    def _context(self, base: str) -> Iterator[Path]:
        context = self.folder / "base"
        context.mkdir()
        try:
            scenarios.write_base(base, context)
            yield context
        finally:
            shutil.rmtree(context)
