"""Builds that flow: so many at once, a new ImageBuild applied whenever one is Ready, or one every so many seconds; and how
long each took to what."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.scale import api, node, objects
from strata_operator import conditions, kube, names

Body = dict[str, Any]


@dataclass
class Times:
    """Seconds of each build, as the API server's watches told them to the world outside."""

    apply_to_job: list[float] = field(default_factory=list)
    apply_to_pod: list[float] = field(default_factory=list)
    end_to_ready: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Flow:
    """`count` ImageBuilds, `at_once` of them under way; with `every`, one in so many seconds, however many are under way."""

    def __init__(
        self,
        client: api.Api,
        simulated: node.Node,
        *,
        count: int,
        at_once: int = 1,
        every: float = 0.0,
        kind: str = "flow",
    ) -> None:
        self._api = client
        self._node = simulated
        self._bodies = iter([objects.build(i, kind=kind) for i in range(count)])
        self._at_once = min(at_once, count)
        self._every = every
        self._applied: dict[str, float] = {}
        self._jobs: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self._ready: dict[str, float] = {}
        self.begun = asyncio.Event()
        """Set once the first ones, which are applied all together, have their Jobs: from then on builds come one by one."""

    async def run(self) -> Times:
        """Raises TimeoutError for a build that does not get Ready."""
        watches = [asyncio.create_task(self._see_jobs()), asyncio.create_task(self._see_builds())]
        await asyncio.sleep(0.5)
        began = time.monotonic()
        try:
            await (self._paced() if self._every else api.each(self._bodies, self._one, at_once=self._at_once))
        finally:
            for watch in watches:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
        found = Times(seconds=time.monotonic() - began)
        for key, ready in self._ready.items():
            found.apply_to_job.append(self._jobs[key] - self._applied[key])
            found.apply_to_pod.append(self._node.created[key] - self._applied[key])
            found.end_to_ready.append(ready - self._node.ended[key])
        return found

    async def _paced(self) -> None:
        async with asyncio.TaskGroup() as group:
            for body in self._bodies:
                group.create_task(self._one(body))
                await asyncio.sleep(self._every)

    async def _one(self, body: Body) -> None:
        key = str(kube.place(body))
        done = self._waiting[key] = asyncio.Event()
        await self._api.create(names.IMAGEBUILDS, body)
        self._applied[key] = time.time()
        self._look()
        async with asyncio.timeout(600):
            await done.wait()

    def _look(self) -> None:
        if not self.begun.is_set() and len(self._jobs.keys() & self._applied.keys()) >= self._at_once:
            self.begun.set()

    async def _see_jobs(self) -> None:
        async for kind, job in self._api.watch(names.JOBS, selector=names.OWNED):
            if kind == "ADDED":
                for owner in job["metadata"].get("ownerReferences", ()):
                    self._jobs.setdefault(f"{job['metadata']['namespace']}/{owner['name']}", time.time())
            self._look()

    async def _see_builds(self) -> None:
        async for _, body in self._api.watch(names.IMAGEBUILDS):
            key = str(kube.place(body))
            ready = conditions.find((body.get("status") or {}).get("conditions"), conditions.READY) or {}
            if ready.get("status") == conditions.TRUE and key in self._waiting:
                self._ready.setdefault(key, time.time())
                self._waiting[key].set()


def spread(values: list[float]) -> Iterator[tuple[str, float]]:
    """The median, the 99th percentile and the greatest."""
    ordered = sorted(values)
    for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        yield name, ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0
