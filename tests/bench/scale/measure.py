"""What is measured, at one number of ImageBuilds, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.scale import audit, flow, lab, node, objects
from strata_operator import kube, names
from support import operator_process as process

Figures = dict[str, Any]
T = TypeVar("T")
_LANES = ("running", "open")
_SETTLING = 15.0  # seconds after a start in which it is not idle yet


@dataclass(frozen=True, slots=True)
class Plan:
    """`builds` flow, `active` of them at once, each pod for about `pod_seconds`; other times are seconds, too."""

    builds: int = 300
    active: int = 100
    pod_seconds: float = 20.0
    idle: float = 60.0
    resyncs: float = 30.0  # between two resyncs in the part that measures what one costs


async def at(world: lab.Lab, size: int, plan: Plan, say: lab.Say) -> Figures:
    """All figures with `size` ImageBuilds: those that flow are among them."""
    say(f"{size} ImageBuilds: filling")
    await world.grow(size - plan.builds)
    found: Figures = {"size": size, "load": os.getloadavg()[0]}
    async with _started(world, found, "start", say) as operator:
        say(f"{size} ImageBuilds: idle")
        found["idle"] = await _idle(world, operator, plan.idle)
        say(f"{size} ImageBuilds: {plan.builds} builds")
        found["flow"] = await _flow(world, operator, plan)
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
    ready = await _until(operator, operator.ready, seconds=900)
    working = await world.until_job(probe, seconds=900) - began
    await _until(operator, lambda: _drained(operator), seconds=900)
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
        "requests": _told(asked),
        **_memory(operator),
    }


async def _flow(world: lab.Lab, operator: process.OperatorProcess, plan: Plan) -> Figures:
    async with _nodes(world, plan.pod_seconds) as simulated:
        before, first = operator.metrics(), operator.usage().cpu
        world.audit.since()
        builds = flow.Flow(world.api, simulated, count=plan.builds, at_once=plan.active)
        async with asyncio.TaskGroup() as group:
            begun = group.create_task(_begun(builds, operator))
            times = await _alive(operator, builds.run())
        await _until(operator, lambda: _drained(operator), seconds=120)
        cpu = operator.usage().cpu - first
    after, asked = operator.metrics(), world.audit.since()
    own = {key: count for key, count in asked.items() if key[1] != "leases"}
    wait = "strata_queue_wait_seconds"
    return {
        "builds": plan.builds,
        "active": plan.active,
        "seconds": times.seconds,
        "cpu_per_build": cpu / plan.builds,
        "writes_per_build": sum(n for (verb, place, _), n in own.items() if _written(verb, place)) / plan.builds,
        "dry_runs_per_build": sum(n for (verb, _, _), n in own.items() if verb == "dry-run") / plan.builds,
        "requests_per_build": sum(own.values()) / plan.builds,
        "reconciles_per_build": _more(before, after, "strata_reconcile_total") / plan.builds,
        "conflicts": _more(before, after, "strata_reconcile_total", result="conflict"),
        "errors": _more(before, after, "strata_reconcile_total", result="error"),
        "requests": {name: count / plan.builds for name, count in _told(own).items()},
        "wait": {f"p{q * 100:g}": process.quantile(before, after, wait, q, kind="imagebuild") for q in (0.5, 0.99)},
        "wait_then": process.quantile(begun.result(), after, wait, 0.99, kind="imagebuild"),
        "wait_of": {lane: process.quantile(before, after, wait, 0.99, kind="imagebuild", lane=lane) for lane in _LANES},
        "apply_to_job": dict(flow.spread(times.apply_to_job)),
        "apply_to_pod": dict(flow.spread(times.apply_to_pod)),
        "end_to_ready": dict(flow.spread(times.end_to_ready)),
        "untagged": sum(not world.images.tagged(_flowing(i)) for i in range(plan.builds)),
    }


async def _begun(builds: flow.Flow, operator: process.OperatorProcess) -> process.Samples:
    """What the operator had counted when the builds that were applied together had their Jobs."""
    await builds.begun.wait()
    return await asyncio.to_thread(operator.metrics)


async def _resyncs(operator: process.OperatorProcess, plan: Plan, base: float) -> Figures:
    """What one costs beyond idling, and how many objects it had looked at."""
    before, first, began = operator.metrics(), operator.usage().cpu, time.monotonic()
    await asyncio.sleep(plan.resyncs * 2.2)
    await _until(operator, lambda: _drained(operator), seconds=300)
    after, passed = operator.metrics(), time.monotonic() - began
    count = _more(before, after, "strata_resyncs_total")
    cpu = operator.usage().cpu - first - base * passed
    return {
        "count": count,
        "cpu": cpu / max(count, 1),
        "reconciles": _more(before, after, "strata_reconcile_total", kind="imagebuild") / max(count, 1),
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


@contextlib.asynccontextmanager
async def _nodes(world: lab.Lab, seconds: float) -> AsyncIterator[node.Node]:
    simulated = node.Node(world.api, world.images, seconds)
    task = asyncio.create_task(simulated.run())
    await asyncio.sleep(0.5)
    try:
        yield simulated
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _alive(operator: process.OperatorProcess, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, for which the operator must live."""
    task = asyncio.create_task(work)
    while not (await asyncio.wait({task}, timeout=1.0))[0]:
        if operator.ended():
            task.cancel()
            raise AssertionError(f"the operator ended:\n{operator.log[-3000:]}")
    return task.result()


async def _until(operator: process.OperatorProcess, true: Any, *, seconds: float) -> float:
    began = time.monotonic()
    while not await asyncio.to_thread(true):
        if time.monotonic() - began > seconds or operator.ended():
            raise AssertionError(
                f"the operator is not where it should be after {seconds:.0f} s:\n{operator.log[-3000:]}"
            )
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def _drained(operator: process.OperatorProcess) -> bool:
    found = operator.metrics()
    leads = process.total(found, "strata_leader") == 1
    return leads and process.total(found, "strata_queue_depth") == 0 == process.total(found, "strata_queue_busy")


def _more(before: process.Samples, after: process.Samples, name: str, **labels: str) -> float:
    return process.total(after, name, **labels) - process.total(before, name, **labels)


def _written(verb: str, resource: str) -> bool:
    return verb in audit.WRITES and resource != "leases"


def _told(asked: Any) -> dict[str, int]:
    return {f"{verb} {place}{'/' + sub if sub else ''}": count for (verb, place, sub), count in sorted(asked.items())}


def _memory(operator: process.OperatorProcess) -> Figures:
    used = operator.usage()
    return {"memory": used.memory, "peak": used.peak}


def _flowing(index: int) -> str:
    return str(kube.place(objects.build(index, kind="flow")))
