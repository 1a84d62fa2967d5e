"""What the API server sends over watches like the operator's: counted on others of the same kind and selector."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable

from bench.scale import api, audit


class Watches:
    """Events and bytes by resource."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    async def follow(self, client: api.Api, path: str, selector: str) -> None:
        """Until cancelled."""
        resource = path.rpartition("/")[2]
        async for line in client.lines(path, selector):
            self.events[resource] += 1
            self.bytes[resource] += len(line) + 1


@contextlib.asynccontextmanager
async def counted(client: api.Api, watched: Iterable[audit.Watched]) -> AsyncIterator[Watches]:
    """Counts until the end of the block."""
    found = Watches()
    tasks = [asyncio.create_task(found.follow(client, *place)) for place in sorted(watched)]
    await asyncio.sleep(0.5)  # each has begun
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
    if broken:
        raise AssertionError(f"a watch has ended by itself: {broken}")
