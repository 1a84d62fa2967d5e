"""Carries out a plan. The only place where the graph meets the edges.

A stage is worked on only if the target lacks something of it: with every step of the target in the cache nothing but
records is read. Stages that are needed run side by side, each in a thread of its own, and wait for one another where one
takes from the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path

from strata_builder import contract, errors
from strata_builder.engine import history, keys, records, stages, steps
from strata_builder.engine.blobs import Blobs
from strata_builder.engine.options import Options
from strata_builder.engine.report import Reporter
from strata_builder.engine.roots import Roots
from strata_builder.engine.state import State
from strata_builder.engine.steps import Base
from strata_builder.frozen import field, frozen
from strata_builder.oci.image import Image

DEFAULT_CREATED = 946_684_800  # 2000-01-01, where neither an epoch nor a commit gives a time


@frozen
class Edges:
    """All that a build touches outside itself. `deadline` is in the terms of `clock` (seconds).

    `made` hears of each step that was done, not found, by stage and position, before the next one of its stage begins.
    """

    blobs: Blobs
    remotes: keys.Remotes
    known: records.Records
    report: Reporter
    scratch: Path
    roots: Roots | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    made: Callable[[int, int, records.Record], None] = lambda *_: None
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic


@frozen
class Built:
    """A finished image; its blobs are in `Edges.blobs`. `used` are the records that this build used or made."""

    image: Image
    steps: tuple[contract.Step, ...]
    used: Mapping[str, records.Record]
    bases: tuple[Base, ...]

    @property
    def hits(self) -> int:
        return sum(step.cached for step in self.steps)


def execute(plan: steps.Plan, keyed: keys.Keyed, options: Options, edges: Edges) -> Built:
    """The image of the plan's target. Raises BuildError; a failure in one stage ends the others."""
    return _Execution(plan, keyed, options, edges).run()


class _Execution:
    def __init__(self, plan: steps.Plan, keyed: keys.Keyed, options: Options, edges: Edges) -> None:
        self.plan, self.keyed, self.options, self.edges = plan, keyed, options, edges
        self.log = stages.Log()
        created = next(t for t in (options.source_date_epoch, options.created, DEFAULT_CREATED) if t is not None)
        self.created = history.stamp(created)
        self.done: dict[int, futures.Future[State]] = {index: futures.Future() for index in self._needed()}

    def run(self) -> Built:
        order = sorted(self.done)
        if self.edges.roots is None or self.edges.roots.exclusive:
            for index in order:
                self._work(index)
        else:
            self._side_by_side(order)
        end = self._first_failure_or(self.plan.target)
        return Built(end.image, self.log.in_order(), self.log.used, self.plan.bases)

    def _side_by_side(self, order: list[int]) -> None:
        """A thread a stage: a stage that waits holds no core, and one that works is mostly in C or in a child."""
        threads = [threading.Thread(target=self._work, args=(i,), name=f"stage-{i}", daemon=True) for i in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, index: int) -> None:
        if self.edges.cancel.is_set():
            self.done[index].cancel()
            return
        try:
            worker = stages.Worker(self.plan, index, self.keyed, self.options, self.edges, self.created, self.log)
            self.done[index].set_result(worker.run(self._end))
        except futures.CancelledError:
            self.done[index].cancel()
        except BaseException as e:  # noqa: BLE001  handed to whoever waits for this stage, and raised by run()
            self.done[index].set_exception(e)
            self.edges.cancel.set()

    def _end(self, index: int) -> State:
        """Another stage's end; waits for it. Raises CancelledError where that stage failed, which says why itself."""
        if self.done[index].exception() is not None:  # unlike futures.wait(), this ends for a cancelled one, too
            raise futures.CancelledError
        return self.done[index].result()

    def _first_failure_or(self, target: int) -> State:
        ended = [future for _, future in sorted(self.done.items()) if not future.cancelled()]
        failures = [failure for future in ended if (failure := future.exception()) is not None]
        # A stage that was ended by another's failure says only that it was.
        for failure in sorted(failures, key=lambda failure: isinstance(failure, errors.Cancelled)):
            raise failure
        if self.done[target].cancelled():
            raise errors.Cancelled("the build was cancelled")
        return self.done[target].result()

    def _needed(self) -> frozenset[int]:
        """The target, the stages it is based on, and those that a step without a record reads."""
        todo, found = [self.plan.target], set[int]()
        while todo:
            index = todo.pop()
            if index in found:
                continue
            found.add(index)
            stage = self.plan.stages[index]
            origins = [stage.base]
            for position, step in enumerate(stage.steps):
                if not stages.is_known(self.keyed, self.options, self.edges.known, index, position, step):
                    origins += [step.origin, *(origin for _, origin in step.mounts)]  # type: ignore[list-item]
            todo += [origin.index for origin in origins if isinstance(origin, steps.FromStage)]
        return frozenset(found)
