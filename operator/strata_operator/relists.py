"""Finds what went unnoticed in a gap of a watch: kopf then lists anew, tells of what is there, and of nothing that is gone.

What it tells comes in one go. Where that lacks an object that the cache has, the kind is listed once more by ourselves,
for nobody says that kopf's list was whole. A kind of which nothing at all is left waits for the resync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from strata_operator import cache, kube, names

#: Seconds without a further object: the list is over. Pages of thousands, of a busy server, come with pauses between them.
QUIET: Final = 5.0


class Relists:
    """What kopf's running lists have told of so far. Belongs to one event loop."""

    def __init__(self, stores: cache.Cache, refresh: Callable[[names.Resource], Awaitable[None]]) -> None:
        self._cache = stores
        self._refresh = refresh
        self._told: dict[names.Resource, set[names.Key]] = {}
        self._last: dict[names.Resource, float] = {}
        self._due: dict[names.Resource, None] = {}  # in the order in which it was seen
        self._wake = asyncio.Event()

    def told(self, resource: names.Resource, body: kube.Object) -> None:
        """An object of a list of kopf's."""
        loop = asyncio.get_running_loop()
        self._last[resource] = loop.time()
        if resource not in self._told:
            self._told[resource] = set()
            loop.call_later(QUIET, self._over, resource)
        told, key = self._told[resource], kube.place(body)
        if key in told:  # another list, already
            told.clear()
        told.add(key)

    async def run(self) -> None:
        """List what is due, until cancelled."""
        while True:
            await self._wake.wait()
            resource = next(iter(self._due))
            del self._due[resource]  # before the list: what is lost while it runs comes due again
            if not self._due:
                self._wake.clear()
            await self._refresh(resource)

    def _over(self, resource: names.Resource) -> None:
        loop = asyncio.get_running_loop()
        if (left := self._last[resource] + QUIET - loop.time()) > 0:
            loop.call_later(left, self._over, resource)
            return
        told = self._told.pop(resource)
        store = self._cache[resource]
        if store.listed_at is not None and not store.within(told):
            self._due[resource] = None
            self._wake.set()
