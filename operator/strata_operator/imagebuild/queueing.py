"""Which builds may run at once: a fixed number of places, given by priority and then in the order of arrival.

This is memory only. After a restart the statuses tell who runs, and who waits asks again.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from strata_operator import names

Rank = tuple[float, float, str]


class Places:
    """`limit` 0 means that there is no limit. Belongs to one event loop; no method waits."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running: set[names.Key] = set()
        self._waiting: list[tuple[Rank, names.Key]] = []
        self._ranks: dict[names.Key, Rank] = {}

    def restore(self, running: Iterable[names.Key]) -> None:
        """Those that had a place when the operator was here last."""
        self._running.update(running)

    def claim(self, key: names.Key, rank: Rank, busy: Iterable[names.Key] = ()) -> int:
        """Take a place: 0 = taken (again, if it was), else the position in the queue, from 1.

        `busy` are builds that still have a pod although their place was given back.
        """
        if key in self._running:
            return 0
        self._wait(key, rank)
        position = bisect.bisect_left(self._waiting, (rank, key)) + 1
        free = self.limit - len(self._running | (set(busy) - {key}))
        if self.limit and position > free:
            return position
        self.leave(key)
        self._running.add(key)
        return 0

    def leave(self, key: names.Key) -> None:
        """Give the place, or the place in the queue, back."""
        self._running.discard(key)
        if rank := self._ranks.pop(key, None):
            self._waiting.remove((rank, key))

    def next(self, count: int = 0) -> list[names.Key]:
        """Who could take the free places now (or the first `count`)."""
        free = max(self.limit - len(self._running), count) if self.limit else len(self._waiting)
        return [key for _, key in self._waiting[: max(free, 0)]]

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _wait(self, key: names.Key, rank: Rank) -> None:
        if self._ranks.get(key) == rank:
            return
        if old := self._ranks.pop(key, None):
            self._waiting.remove((old, key))
        bisect.insort(self._waiting, (rank, key))
        self._ranks[key] = rank
