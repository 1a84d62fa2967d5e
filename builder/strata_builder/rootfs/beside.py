"""Work on many layers at once: by this thread, and by as many others as there are processes that have nothing to do."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from strata_builder import errors, workers

_FETCHES: Final = 4
"""Registries serve so many at once without a thought, and each keeps a few MiB in memory."""
T = TypeVar("T")


def all_of(jobs: Sequence[Callable[[workers.Worker | None], T]]) -> list[T]:
    """What the jobs give, each called once, with a worker that is its own meanwhile or with None. They are begun in their
    order. Of those that fail the first one's error is raised; then no other is begun."""
    if len(jobs) < 2:
        return [job(None) for job in jobs]
    with workers.borrowed(len(jobs) - 1) as found:
        row = _Row(jobs)
        threads = [threading.Thread(target=row.work, args=(worker,), name="layers", daemon=True) for worker in found]
        for thread in threads:
            thread.start()
        row.work(None)
        for thread in threads:
            thread.join()
    return row.results()


@contextlib.contextmanager
def begun(jobs: Sequence[Callable[[], object]]) -> Iterator[None]:
    """Begins them in their order, a few at a time, while the block is at work on the first. Whoever needs what one of them
    brings will ask for it, too, and so hear what is wrong."""

    row = _Row([functools.partial(_quietly, job) for job in jobs])
    for _ in range(min(len(jobs), _FETCHES) if len(jobs) > 1 else 0):
        threading.Thread(target=row.work, args=(None,), name="fetch", daemon=True).start()
    try:
        yield
    finally:
        row.stop()


def _quietly(job: Callable[[], object], _: workers.Worker | None) -> None:
    with contextlib.suppress(errors.BuildError, OSError):
        job()


class _Row(Generic[T]):
    """Jobs, taken one after another by any number of threads."""

    def __init__(self, jobs: Sequence[Callable[[workers.Worker | None], T]]) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._next = 0
        self._made: dict[int, T] = {}
        self._failed: dict[int, BaseException] = {}

    def work(self, worker: workers.Worker | None) -> None:
        while (number := self._take()) is not None:
            try:
                self._made[number] = self._jobs[number](worker)
            except BaseException as error:  # noqa: BLE001  raised by `results`
                self._failed[number] = error
                self.stop()

    def stop(self) -> None:
        with self._lock:
            self._next = len(self._jobs)

    def results(self) -> list[T]:
        for number in sorted(self._failed):
            raise self._failed[number]
        return [self._made[number] for number in range(len(self._jobs))]

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= len(self._jobs):
                return None
            self._next += 1
            return self._next - 1
