"""A deduplicating work queue: a key waits at most once, at most one worker is on it, and failures back off."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from strata_operator import kube, logs, metrics, names

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
    ) -> None:
        self.kind = kind
        self._reconcile = reconcile
        self._counters = counters
        self._workers = workers
        self._backoff = (first_backoff, longest_backoff)
        self._ready: dict[names.Key, None] = {}  # in order of arrival
        self._later: dict[names.Key, asyncio.TimerHandle] = {}
        self._busy: dict[names.Key, float] = {}  # since when
        self._again: set[names.Key] = set()  # came while busy
        self._failures: dict[names.Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: names.Key) -> None:
        """Work on `key` as soon as a worker is free; a later appointment for it is moved here."""
        if timer := self._later.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
            return
        self._ready[key] = None
        self._wake.set()
        self._measure()

    def add_after(self, key: names.Key, delay: float) -> None:
        """Work on `key` in `delay` seconds, unless it is to be worked on sooner anyway."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        earlier = self._later.get(key)
        if key in self._ready or key in self._again or (earlier and earlier.when() <= loop.time() + delay):
            return
        if earlier:
            earlier.cancel()
        self._later[key] = loop.call_later(delay, self.add, key)

    async def run(self) -> None:
        """Work until cancelled."""
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
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits for a worker and no worker is busy."""
        return not self._ready and not self._busy

    async def _work(self) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._ready))
            del self._ready[key]
            self._measure()
            await self._work_on(key)

    async def _work_on(self, key: names.Key) -> None:
        started = self._busy[key] = asyncio.get_running_loop().time()
        token = logs.current.set(f"{self.kind} {key}")
        try:
            result, delay = await self._attempt(key)
        finally:
            logs.current.reset(token)
            del self._busy[key]
        self._counters.reconciles.labels(self.kind, result).inc()
        self._counters.reconcile_seconds.labels(self.kind).observe(asyncio.get_running_loop().time() - started)
        if key in self._again:
            self._again.discard(key)
            self.add(key) if result != "error" else self.add_after(key, delay or 0)
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
        self._counters.queue_depth.labels(self.kind).set(len(self._ready))
