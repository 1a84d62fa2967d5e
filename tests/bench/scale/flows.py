"""What the operator does for builds that flow: so many at once, all begun together; and one after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.scale import audit, flow, lab, looking, node, objects, watches
from strata_operator import kube
from support import operator_process as process

Figures = dict[str, Any]
T = TypeVar("T")
_LANES = ("running", "open")
_WAIT = "strata_queue_wait_seconds"


@dataclass(frozen=True, slots=True)
class Plan:
    """`builds` flow, `active` of them at once, each pod for about `pod_seconds`. Then `steady` are asked for, `rate` in a
    second; their pods work as long as it takes until as many are active."""

    builds: int = 300
    active: int = 100
    pod_seconds: float = 20.0
    steady: int = 200
    rate: float = 1.0


async def burst(world: lab.Lab, operator: process.OperatorProcess, plan: Plan) -> Figures:
    """All that may be active are applied together, and another one as soon as one is Ready."""
    async with watches.counted(world.api, world.audit.watched) as seen, _nodes(world, plan.pod_seconds) as simulated:
        builds = flow.Flow(world.api, simulated, count=plan.builds, at_once=plan.active)
        begun = asyncio.create_task(_begun(builds, operator))
        found = await _flow(world, operator, builds, plan.builds)
        after = await asyncio.to_thread(operator.metrics)
    found["active"] = plan.active
    found["wait_then"] = process.quantile(await begun, after, _WAIT, 0.99, kind="imagebuild")
    found["watched"] = {
        what: {resource: n / plan.builds for resource, n in counts.items()}
        for what, counts in (("events", seen.events), ("bytes", seen.bytes))
    }
    found["untagged"] = sum(not world.images.tagged(_named(i, "flow")) for i in range(plan.builds))
    return found


async def steady(world: lab.Lab, operator: process.OperatorProcess, plan: Plan) -> Figures:
    """One after another, as many as are active at once in the long run."""
    async with _nodes(world, plan.active / plan.rate) as simulated:
        builds = flow.Flow(world.api, simulated, count=plan.steady, every=1 / plan.rate, kind="steady")
        found = await _flow(world, operator, builds, plan.steady)
    found |= {"rate": plan.rate, "active": simulated.most}
    found["untagged"] = sum(not world.images.tagged(_named(i, "steady")) for i in range(plan.steady))
    return found


async def _flow(world: lab.Lab, operator: process.OperatorProcess, builds: flow.Flow, count: int) -> Figures:
    before, first = await asyncio.to_thread(operator.metrics), operator.usage().cpu
    world.audit.since()
    times = await _alive(operator, builds.run())
    await looking.until(operator, lambda: looking.drained(operator), seconds=120)
    cpu = operator.usage().cpu - first
    after, asked = await asyncio.to_thread(operator.metrics), world.audit.since()
    found = {"builds": count, "seconds": times.seconds, "cpu_per_build": cpu / count}
    return found | _asked(asked, count) | _looks(before, after, count) | _times(times)


def _asked(asked: audit.Asked, count: int) -> Figures:
    own = {key: n for key, n in asked.items() if key[1] != "leases"}
    return {
        "writes_per_build": sum(n for (verb, _, _), n in own.items() if verb in audit.WRITES) / count,
        "dry_runs_per_build": sum(n for (verb, _, _), n in own.items() if verb == "dry-run") / count,
        "requests_per_build": sum(own.values()) / count,
        "requests": {name: n / count for name, n in audit.told(own).items()},
    }


def _looks(before: process.Samples, after: process.Samples, count: int) -> Figures:
    def wait(q: float, **labels: str) -> float:
        return process.quantile(before, after, _WAIT, q, kind="imagebuild", **labels)

    return {
        "reconciles_per_build": looking.more(before, after, "strata_reconcile_total") / count,
        "conflicts": looking.more(before, after, "strata_reconcile_total", result="conflict"),
        "errors": looking.more(before, after, "strata_reconcile_total", result="error"),
        "wait": {"p50": wait(0.5), "p99": wait(0.99)},
        "wait_of": {lane: wait(0.99, lane=lane) for lane in _LANES},
    }


def _times(times: flow.Times) -> Figures:
    return {
        "apply_to_job": dict(flow.spread(times.apply_to_job)),
        "apply_to_pod": dict(flow.spread(times.apply_to_pod)),
        "end_to_ready": dict(flow.spread(times.end_to_ready)),
    }


async def _begun(builds: flow.Flow, operator: process.OperatorProcess) -> process.Samples:
    """What the operator had counted when the builds that were applied together had their Jobs."""
    await builds.begun.wait()
    return await asyncio.to_thread(operator.metrics)


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


def _named(index: int, kind: str) -> str:
    return str(kube.place(objects.build(index, kind=kind)))
