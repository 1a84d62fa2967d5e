"""A deduplicating work queue: a key waits at most once, at most one worker is on it, and failures back off.

It has lanes (lanes.py): keys of which nothing is to be expected wait until no other waits. So after a start, and when a
Registry of ten thousand builds changes, those that have something to do come first; and what runs is not kept waiting
by thousands that are to start.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from strata_operator import kube, logs, metrics, names
from strata_operator.lanes import Lane, Lanes

log = logging.getLogger(__name__)

#: Looks at one object and brings the world nearer to its spec; returns seconds after which to look again, or None.
Reconcile = Callable[[names.Key], Awaitable[float | None]]

_FIRST_BACKOFF: Final = 1.0
_LONGEST_BACKOFF: Final = 300.0
_CONFLICT_DELAY: Final = 0.05


class Queue:
    """Keys of one kind and the workers that reconcile them. Belongs to one event loop."""

    def __init__(
        self,
        kind: str,
        reconcile: Reconcile,
        counters: metrics.Metrics,
        *,
        workers: int,
        first_backoff: float = _FIRST_BACKOFF,
        longest_backoff: float = _LONGEST_BACKOFF,
        lane: Callable[[names.Key], Lane] = lambda _key: Lane.OPEN,
    ) -> None:
        self.kind = kind
        self._reconcile = reconcile
        self._counters = counters
        self._workers = workers
        self._backoff = (first_backoff, longest_backoff)
        self._lane = lane
        self._waiting = Lanes()
        self._later: dict[names.Key, asyncio.TimerHandle] = {}
        self._busy: dict[names.Key, float] = {}  # since when
        self._again: dict[names.Key, float] = {}  # came while busy, since when
        self._failures: dict[names.Key, int] = {}
        self._wake = asyncio.Event()
        self._began = 0.0  # nobody can have waited for a worker before there was one

    def add(self, key: names.Key) -> None:
        """Work on `key` as soon as a worker is free; a later appointment for it is moved here."""
        self._add(key, asyncio.get_running_loop().time())

    def _add(self, key: names.Key, since: float) -> None:
        if timer := self._later.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.setdefault(key, since)
            return
        self._waiting.put(key, self._lane(key), since)
        self._wake.set()
        self._measure()

    def add_after(self, key: names.Key, delay: float) -> None:
        """Work on `key` in `delay` seconds, unless it is to be worked on sooner anyway."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        earlier = self._later.get(key)
        if key in self._waiting or key in self._again or (earlier and earlier.when() <= loop.time() + delay):
            return
        if earlier:
            earlier.cancel()
        self._later[key] = loop.call_later(delay, self.add, key)

    async def run(self) -> None:
        """Work until cancelled."""
        self._began = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            for timer in self._later.values():
                timer.cancel()
            self._later.clear()

    def longest_busy(self) -> tuple[names.Key | None, float]:
        """The key that has been worked on for longest, and for how many seconds."""
        if not self._busy:
            return None, 0.0
        key = min(self._busy, key=lambda k: self._busy[k])
        return key, asyncio.get_running_loop().time() - self._busy[key]

    @property
    def depth(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits for a worker and no worker is busy."""
        return not self.depth and not self._busy

    async def _work(self) -> None:
        while True:
            while not self.depth:
                self._wake.clear()
                await self._wake.wait()
            await self._work_on(self._next())
            await asyncio.sleep(0)  # a look that asks nobody gives way to nobody, and there may be thousands

    def _next(self) -> names.Key:
        key, lane, since = self._waiting.take()
        seconds = asyncio.get_running_loop().time() - max(since, self._began)
        self._counters.queue_wait.labels(self.kind, lane.name.lower()).observe(seconds)
        return key

    async def _work_on(self, key: names.Key) -> None:
        started = self._busy[key] = asyncio.get_running_loop().time()
        self._measure()
        token = logs.current.set(f"{self.kind} {key}")
        try:
            result, delay = await self._attempt(key)
        finally:
            logs.current.reset(token)
            del self._busy[key]
            self._measure()
        self._counters.reconciles.labels(self.kind, result).inc()
        self._counters.reconcile_seconds.labels(self.kind).observe(asyncio.get_running_loop().time() - started)
        since = self._again.pop(key, None)
        if since is not None:
            self._add(key, since) if result != "error" else self.add_after(key, delay or 0)
        elif delay is not None:
            self.add_after(key, delay)

    async def _attempt(self, key: names.Key) -> tuple[str, float | None]:
        try:
            delay = await self._reconcile(key)
        except kube.Conflict as e:
            log.debug("somebody wrote in between, looking again: %s", e)
            return "conflict", _CONFLICT_DELAY * (1 + random.random())  # noqa: S311  jitter
        except kube.KubeError as e:  # its words say it all
            log.warning("the API server refused: %s", e)
            return "error", self._failed(key)
        except Exception:  # the border of every reconcile: logged, counted, tried again
            log.exception("reconcile failed")
            return "error", self._failed(key)
        self._failures.pop(key, None)
        return "success", delay

    def _failed(self, key: names.Key) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        first, longest = self._backoff
        return min(first * 2.0 ** min(count - 1, 30), longest) * random.uniform(0.8, 1.2)  # noqa: S311  jitter

    def _measure(self) -> None:
        self._counters.queue_depth.labels(self.kind).set(self.depth)
        self._counters.queue_busy.labels(self.kind).set(len(self._busy))
