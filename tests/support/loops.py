"""An event loop in a thread of its own, for servers of tests, that leaves nothing open when it ends."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

_PATIENCE = 10.0  # seconds


def started(loop: asyncio.AbstractEventLoop, name: str) -> threading.Thread:
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    return thread


def ended(loop: Any, thread: threading.Thread) -> None:
    """Ends tasks, closes connections that were accepted and not yet served, then stops and closes the loop.

    What stayed open would be found by the collector of garbage in the midst of another test, which then fails for it.
    """
    asyncio.run_coroutine_threadsafe(_let_go(loop), loop).result(_PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_PATIENCE)
    loop.close()


async def _let_go(loop: Any) -> None:
    await asyncio.sleep(0)  # what was accepted a moment ago becomes a connection
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for transport in list(loop._transports.values()):  # asyncio keeps them, and tells nobody
        transport.abort()
    await asyncio.sleep(0)
