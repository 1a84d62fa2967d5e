"""What the times of a layer's files mean, by what made the layer. Pure.

What a context brought has its step's time, derived from all that the step placed. A RUN is to see it as new. Copied on by
COPY --from it gets the time of the copying step: else a change of a neighbour in its layer would change the copy. Every
other file keeps its time: what a RUN made may be named by it in what the RUN compiled (.pyc).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence

from strata_builder.context import tree
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import digests, steps
from strata_builder.entries import Entry, Kind, Readable
from strata_builder.layers.index import Index
from strata_builder.oci.image import LayerRef

STEP_TIME = -1  # stands for the step's own time until that is known
Indexes = Callable[[LayerRef], Index]


class Maker(enum.Enum):
    """What made a layer. All in a CONTEXT layer has the step's time; of ADD and COPY --from (MIXED) the index tells."""

    IMAGE = enum.auto()
    RUN = enum.auto()
    WORKDIR = enum.auto()
    CONTEXT = enum.auto()
    MIXED = enum.auto()

    @classmethod
    def of(cls, step: steps.Step) -> Maker:
        if isinstance(step.instruction, ins.Run):
            return cls.RUN
        if isinstance(step.instruction, ins.Workdir):
            return cls.WORKDIR
        from_context = isinstance(step.instruction, ins.Copy) and isinstance(step.origin, steps.FromTree)
        return cls.CONTEXT if from_context else cls.MIXED


Made = Sequence[tuple[LayerRef, Maker]]


def new_to_a_run(made: Made, indexes: Indexes, epoch: int | None) -> Iterator[str]:
    """The digests of the layers whose files a RUN is to see as new: all in them came from a context."""
    for layer, maker in made:
        if maker == Maker.CONTEXT or (maker == Maker.MIXED and _has_one_time(indexes(layer), epoch)):
            yield layer.descriptor.digest


def of_steps(made: Made, indexes: Indexes, epoch: int | None) -> list[int | None]:
    """For each layer the time of the step that made it; None where that is nothing special."""
    placed = (Maker.WORKDIR, Maker.CONTEXT, Maker.MIXED)
    return [of_step(indexes(layer), epoch) if maker in placed else None for layer, maker in made]


def of_step(placed: Index, epoch: int | None) -> int | None:
    """The time of the step that placed these entries: that of its directories; without any, what all entries have.

    None if there are several, or if it is none that steps have.
    """
    first = next(iter(placed), None)
    if first is None or (first.kind != Kind.DIR and any(entry.mtime != first.mtime for entry in placed)):
        return None
    return first.mtime if first.mtime == epoch or digests.is_step_time(first.mtime) else None


def _has_one_time(placed: Index, epoch: int | None) -> bool:
    time = of_step(placed, epoch)
    return time is not None and all(entry.mtime == time for entry in placed)


class Renewed:
    """A stage's `Tree` in which what has its step's time has STEP_TIME. `layer_of` gives the number of the layer that
    shows a path, `times` the steps' times by that number."""

    def __init__(self, inner: Tree, layer_of: Callable[[bytes], int | None], times: Sequence[int | None]) -> None:
        self._tree, self._layer_of, self._times = inner, layer_of, times

    def lookup(self, path: bytes) -> Entry | None:
        entry = self._tree.lookup(path)
        number = self._layer_of(path) if entry is not None else None
        if entry is None or number is None or entry.mtime != self._times[number]:
            return entry
        return entry._replace(mtime=STEP_TIME)

    def children(self, path: bytes) -> Sequence[bytes]:
        return self._tree.children(path)

    def entries(self, path: bytes) -> Iterable[tree.Found]:
        return tree.one_by_one(self, path)

    def open(self, path: bytes) -> Readable:
        return self._tree.open(path)

    def digest(self, path: bytes) -> str:
        return self._tree.digest(path)

    def identity(self, path: bytes) -> object:
        return self._tree.identity(path)
