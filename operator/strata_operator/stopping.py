"""How watching ends: soon, also where one of kopf's requests does not notice that it is to end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

#: Seconds, and of who has lost the Lease: it is to be gone before another one may have it.
LIMIT: Final = 20.0
LIMIT_OF_LOSERS: Final = 3.0


class Stuck(Exception):
    """Watching was told to end and did not: only the process itself can end it."""


async def run(watching: Coroutine[Any, Any, None], stop: asyncio.Event, limit: Callable[[], float]) -> None:
    """`watching` to its end, for which it has `limit` seconds once `stop` is set. Raises Stuck, and what it raises.

    kopf waits for its tasks without a limit. A request that is cancelled just when its answer is an error can go on as if
    it had not been, and then waits for ever; meanwhile nobody acts, and nothing is watched.
    """
    task, stopped = asyncio.create_task(watching), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=limit())
        if not task.done():
            raise Stuck(f"watching did not end within {limit():.0f} s")
        task.result()
    finally:
        stopped.cancel()
        task.cancel()


def heed_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`, in the place of kopf's own handlers, which have no limit either."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
