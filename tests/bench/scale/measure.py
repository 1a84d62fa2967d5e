"""What is measured, at one number of ImageBuilds, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from bench.scale import audit, flows, lab, looking
from strata_operator import kube, names
from support import operator_process as process

Figures = dict[str, Any]
_SETTLING = 15.0  # seconds after a start in which it is not idle yet


@dataclass(frozen=True, slots=True)
class Plan(flows.Plan):
    """Seconds of what is measured beside the builds that flow."""

    idle: float = 60.0
    resyncs: float = 30.0  # between two resyncs in the part that measures what one costs


async def at(world: lab.Lab, size: int, plan: Plan, say: lab.Say) -> Figures:
    """All figures with `size` ImageBuilds: those that flow are among them."""
    say(f"{size} ImageBuilds: filling")
    await world.grow(size - plan.builds - plan.steady)
    found: Figures = {"size": size, "load": os.getloadavg()[0]}
    async with _started(world, found, "start", say) as operator:
        say(f"{size} ImageBuilds: idle")
        found["idle"] = await _idle(world, operator, plan.idle)
        say(f"{size} ImageBuilds: {plan.builds} builds")
        found["flow"] = await flows.burst(world, operator, plan)
        say(f"{size} ImageBuilds: {plan.steady} builds, {plan.rate:g} in a second")
        found["steady"] = await flows.steady(world, operator, plan)
        found["end"] = _memory(operator)
    async with _started(world, found, "restart", say, RESYNC_SECONDS=str(plan.resyncs)) as operator:
        say(f"{size} ImageBuilds: resyncs")
        found["resync"] = await _resyncs(operator, plan, found["idle"]["cpu_share"])
    found["list"] = await _list(world)
    await world.clear()
    return found


@contextlib.asynccontextmanager
async def _started(
    world: lab.Lab, found: Figures, name: str, say: lab.Say, **settings: str
) -> AsyncIterator[process.OperatorProcess]:
    """An operator that works; what its start took is in `found` under `name`."""
    say(f"{found['size']} ImageBuilds: {name}")
    async with world.probe() as probe:
        world.audit.since()
        operator = world.operator(**settings)
        operator.start()
        try:
            found[name] = await _start(world, operator, probe)
        except BaseException:
            operator.stop(kill=True)
            raise
    with contextlib.closing(operator):
        yield operator


async def _start(world: lab.Lab, operator: process.OperatorProcess, probe: kube.Object) -> Figures:
    """From exec until it works: `probe`, which was applied while it was away, has its Job; and until nothing waits."""
    began = time.monotonic()
    ready = await looking.until(operator, operator.ready, seconds=900)
    working = await world.until_job(probe, seconds=900) - began
    await looking.until(operator, lambda: looking.drained(operator), seconds=900)
    used, seconds, asked = operator.usage(), time.monotonic() - began, world.audit.since()
    return {
        "ready": ready,
        "working": working,
        "seconds": seconds,
        "cpu": used.cpu,
        "reconciles": process.total(operator.metrics(), "strata_reconcile_total", kind="imagebuild"),
        "status_writes": asked["patch", "imagebuilds", "status"],
        **_memory(operator),
    }


async def _idle(world: lab.Lab, operator: process.OperatorProcess, seconds: float) -> Figures:
    await asyncio.sleep(min(seconds, _SETTLING))
    first, began = operator.usage().cpu, time.monotonic()
    world.audit.since()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    asked = world.audit.since()
    return {
        "cpu_share": (operator.usage().cpu - first) / passed,
        "requests_per_minute": sum(asked.values()) / passed * 60,
        "requests": audit.told(asked),
        **_memory(operator),
    }


async def _resyncs(operator: process.OperatorProcess, plan: Plan, base: float) -> Figures:
    """What one costs beyond idling, and how many objects it had looked at."""
    before, first, began = operator.metrics(), operator.usage().cpu, time.monotonic()
    await asyncio.sleep(plan.resyncs * 2.2)
    await looking.until(operator, lambda: looking.drained(operator), seconds=300)
    after, passed = operator.metrics(), time.monotonic() - began
    count = looking.more(before, after, "strata_resyncs_total")
    cpu = operator.usage().cpu - first - base * passed
    return {
        "count": count,
        "cpu": cpu / max(count, 1),
        "reconciles": looking.more(before, after, "strata_reconcile_total", kind="imagebuild") / max(count, 1),
        **_memory(operator),
    }


async def _list(world: lab.Lab) -> Figures:
    """What one whole list of ImageBuilds is, in pages as the operator reads it."""
    began, path, token, size = time.monotonic(), names.IMAGEBUILDS.path(), "", 0
    while True:
        page = await world.api.ask("GET", f"{path}?limit=500" + (f"&continue={token}" if token else ""))
        size += sum(len(str(item)) for item in page["items"])
        token = page["metadata"].get("continue", "")
        if not token:
            return {"seconds": time.monotonic() - began, "bytes": size}


def _memory(operator: process.OperatorProcess) -> Figures:
    used = operator.usage()
    return {"memory": used.memory, "peak": used.peak}
