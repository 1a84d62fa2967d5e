"""What the operator says of itself while it is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from support import operator_process as process


async def until(operator: process.OperatorProcess, true: Callable[[], bool], *, seconds: float) -> float:
    """Wait for it; the seconds that took. Raises AssertionError with the end of its log."""
    began = time.monotonic()
    while not await asyncio.to_thread(true):
        if time.monotonic() - began > seconds or operator.ended():
            raise AssertionError(
                f"the operator is not where it should be after {seconds:.0f} s:\n{operator.log[-3000:]}"
            )
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def drained(operator: process.OperatorProcess) -> bool:
    """Whether it acts, and nothing waits for it."""
    found = operator.metrics()
    leads = process.total(found, "strata_leader") == 1
    return leads and process.total(found, "strata_queue_depth") == 0 == process.total(found, "strata_queue_busy")


def more(before: process.Samples, after: process.Samples, name: str, **labels: str) -> float:
    """By how much a metric has grown."""
    return process.total(after, name, **labels) - process.total(before, name, **labels)
