"""Two replicas: how long nobody acts after the one that leads has ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from bench.scale import lab
from support import operator_process as process


async def measure(world: lab.Lab) -> dict[str, float]:
    """Seconds from the end of the leader, killed or told to end, until the other has made the Job of a new ImageBuild."""
    one, two = world.operator(POD_NAME="one"), world.operator(POD_NAME="two")
    with contextlib.closing(one), contextlib.closing(two):
        one.start()
        await _until(lambda: _leads(one))
        two.start()
        await _until(two.ready)
        killed = await _seconds(world, lambda: one.stop(kill=True))
        await _until(lambda: _leads(two))
        one.start()
        await _until(one.ready)
        return {"killed": killed, "ended": await _seconds(world, two.stop)}


async def _seconds(world: lab.Lab, end: Callable[[], float]) -> float:
    began = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(end))
    async with world.probe() as body:
        acted = await world.until_job(body, seconds=300)
    await ending
    return acted - began


def _leads(operator: process.OperatorProcess) -> bool:
    return process.total(operator.metrics(), "strata_leader") == 1


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110  the condition is another process
            await asyncio.sleep(0.1)
