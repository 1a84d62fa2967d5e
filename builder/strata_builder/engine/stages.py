"""One stage: its steps one after another, each from a record or by doing it."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from strata_builder import contract, errors
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import archives, copying, images, keys, packing, records, running, seconds, steps, times
from strata_builder.engine.options import Options
from strata_builder.engine.roots import Root
from strata_builder.engine.state import State
from strata_builder.entries import Item
from strata_builder.frozen import field, frozen
from strata_builder.layers.items import Items
from strata_builder.oci.image import Image, LayerRef
from strata_builder.rootfs import stage_tree, view

if TYPE_CHECKING:
    from strata_builder.engine.execute import Edges

_names = itertools.count()


@frozen
class Log:
    """What the stages did, in whatever order they came to it."""

    rows: dict[tuple[int, int], contract.Step] = field(default_factory=dict)
    used: dict[str, records.Record] = field(default_factory=dict)
    turns: dict[str, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, key: str) -> threading.Lock:
        """Held by the stage that is at the step `key`: another that has it, too, finds what that one has made."""
        with self.lock:
            return self.turns.setdefault(key, threading.Lock())

    def add(self, at: tuple[int, int], row: contract.Step, found: dict[str, records.Record]) -> None:
        with self.lock:
            self.rows[at] = row
            self.used.update(found)

    def in_order(self) -> tuple[contract.Step, ...]:
        return tuple(self.rows[at] for at in sorted(self.rows))


@frozen
class Done:
    """What became of one step: its layer if it has one, whether a record gave it, and under which keys it may be kept."""

    layer: LayerRef | None
    cached: bool
    reason: str
    keys: tuple[str, ...]


def is_known(
    keyed: keys.Keyed, options: Options, known: records.Records, index: int, position: int, step: steps.Step
) -> bool:
    """Whether a record stands for the step. Steps that touch no files need none."""
    if not step.touches_files:
        return True
    return not options.no_cache and keyed.steps[index, position] in known.steps


class Worker:
    """Works on one stage of a plan, in one thread."""

    def __init__(
        self,
        plan: steps.Plan,
        index: int,
        keyed: keys.Keyed,
        options: Options,
        edges: Edges,
        created: str,
        log: Log,
    ) -> None:
        self.plan, self.stage = plan, plan.stages[index]
        self.index, self.keyed, self.options, self.edges = index, keyed, options, edges
        self.created, self.log = created, log
        self.single = len(plan.stages) == 1
        self.unpacks = edges.roots is not None and any(
            isinstance(step.instruction, ins.Run) and not is_known(keyed, options, edges.known, number, position, step)
            for number, stage in plan.stages.items()
            for position, step in enumerate(stage.steps)
        )
        self.root: Root | None = None
        self.seconds = seconds.Seconds(functools.partial(edges.blobs.index, keep=True), edges.cancel.wait)

    def run(self, end_of: Callable[[int], State]) -> State:
        """The stage's end. `end_of` gives another stage's, waiting for it."""
        self.end_of = end_of
        state = self._base()
        try:
            for position, step in enumerate(self.stage.steps):
                if self.edges.cancel.is_set():
                    raise errors.Cancelled("the build was cancelled", place=step.place)
                state = self._step(position, step, state)
        finally:
            if self.root is not None:
                self.root.close()
        return state.finished(self.stage, self.created)

    def _base(self) -> State:
        base = self.stage.base
        if isinstance(base, steps.FromStage):
            return self.end_of(base.index)
        if isinstance(base, steps.FromImage):
            return State.of_image(base.base.image)
        return State.of_image(Image.scratch(self.options.platform))

    def _step(self, position: int, step: steps.Step, state: State) -> State:
        if not step.touches_files:
            return state.after(step, None, self.created)
        label = self._label(position)
        with self.log.turn(self.keyed.steps[self.index, position]):
            done = self._done(position, step, state, label)
        return state.after(step, done.layer, self.created)

    def _done(self, position: int, step: steps.Step, state: State, label: str) -> Done:
        began = self.edges.clock()
        self.edges.report.started(label, step.created_by)
        try:
            done = self._from_record(position, step) or self._do(position, step, state, label)
        except errors.LayerInvalid as e:
            base = self.plan.layer(e.digest)
            message, hint = f"{base or f'layer {e.digest}'}: {e.message}", images.DAMAGED if base else e.hint
            raise errors.LayerError(message, place=step.place, hint=hint) from e
        except errors.BuildError as e:
            e.place = e.place or step.place
            raise
        seconds, size = self.edges.clock() - began, done.layer.descriptor.size if done.layer else 0
        self.edges.report.ended(label, cached=done.cached, seconds=seconds, size=size)
        row = contract.Step(step.place.line, step.created_by, done.cached, done.reason, round(seconds, 3), size)
        self.log.add((self.index, position), row, {key: records.Record(done.layer) for key in done.keys})
        if not done.cached:
            self.edges.made(self.index, position, records.Record(done.layer))
        return done

    def _label(self, position: int) -> str:
        name = self.stage.name or str(self.index)
        return (
            f"[{position + 1}/{len(self.stage.steps)}]"
            if self.single
            else f"[{name} {position + 1}/{len(self.stage.steps)}]"
        )

    def _from_record(self, position: int, step: steps.Step) -> Done | None:
        key = self.keyed.steps[self.index, position]
        if is_known(self.keyed, self.options, self.edges.known, self.index, position, step):
            return Done(self.edges.known.steps[key].layer, True, "same definition", (key,))
        made = self.log.used.get(key)
        return Done(made.layer, True, "same step of another stage", (key,)) if made else None

    def _do(self, position: int, step: steps.Step, state: State, label: str) -> Done:
        key = self.keyed.steps[self.index, position]
        if isinstance(step.instruction, ins.Run):
            return self._run(step, state, key, label)
        if self._runs_after(position) and any(self.edges.blobs.recall(layer) is None for layer in state.layers):
            self._show(state)  # which reads those layers, too, and they need not be read for their contents alone
        lower = self.edges.blobs.view(state.layers, keep=self.unpacks)
        if isinstance(step.instruction, ins.Workdir):
            placed = copying.workdir(step, lower, epoch=self.options.source_date_epoch)
        else:
            placed = self._copy(step, lower)
        content = keys.copy_of(placed.content, self.options)
        if not self.options.no_cache and content in self.edges.known.steps:
            return Done(self.edges.known.steps[content].layer, True, "same content", (key, content))
        return Done(self._pack(placed.items), False, self._why(), (key, content))

    def _copy(self, step: steps.Step, lower: view.View) -> copying.Placed:
        epoch = self.options.source_date_epoch
        if isinstance(step.origin, steps.FromTree):
            found = keys.sources_in(step.origin, step, self.edges.remotes)
            unpacked = (
                archives.Opener(step.instruction, self.edges.scratch) if isinstance(step.instruction, ins.Add) else None
            )
            return copying.copy(step, found, lower, epoch=epoch, archives=unpacked)
        found = keys.sources_of(step, self._tree(step.origin))
        dated = epoch is not None or not self.plan.has_run(step.origin)
        return copying.copy(step, found, lower, epoch=epoch, dated=dated)

    def _tree(self, origin: steps.Origin | None) -> Tree:
        """The file system of another stage or image, read from its layers."""
        blobs, end = self.edges.blobs, self._end(origin)
        shown = blobs.view(end.layers, keep=True)
        tree = stage_tree.StageTree(shown, end.layers, blobs.open, self.edges.scratch / f"tree-{next(_names)}")
        own = times.of_steps(end.made, blobs.index, self.options.source_date_epoch)
        return times.Renewed(tree, shown.layer_of, own)

    def _end(self, origin: steps.Origin | None) -> State:
        if isinstance(origin, steps.FromStage):
            return self.end_of(origin.index)
        image = origin.base.image if isinstance(origin, steps.FromImage) else Image.scratch(self.options.platform)
        return State.of_image(image)

    def _layers(self, origin: steps.Origin | None) -> Sequence[LayerRef]:
        return self._end(origin).layers

    def _run(self, step: steps.Step, state: State, key: str, label: str) -> Done:
        lower = keys.of_layers(state.layers)
        origins = [running.origin_key(mount, origin, self._layers, self._tree) for mount, origin in step.mounts]
        content = keys.run_on(step, lower, origins, self.options)
        if not self.options.no_cache and content in self.edges.known.steps:
            return Done(self.edges.known.steps[content].layer, True, "same on the same files", (key, content))
        if self.edges.roots is None:
            raise errors.NeedsSandbox("RUN needs a sandbox, and this build has none", place=step.place)
        root = self._show(state)
        runner = running.Runner(step, self.options, self.edges, self._layers)
        view_ = self.edges.blobs.view(state.layers, keep=True)
        runner.run(root, view_, label)
        self.seconds.ran(state.layers)
        layer = self._pack(*root.changes(view_, clamp=self.options.source_date_epoch))
        root.commit(layer)
        return Done(layer, False, self._why(), (key, content))

    def _runs_after(self, position: int) -> bool:
        """Whether a later step of the stage has to run, as far as definitions tell."""
        if self.edges.roots is None:
            return False
        return any(
            isinstance(step.instruction, ins.Run)
            and not is_known(self.keyed, self.options, self.edges.known, self.index, number, step)
            for number, step in enumerate(self.stage.steps)
            if number > position
        )

    def _show(self, state: State) -> Root:
        """The stage's file system, with all that a step is to see now."""
        assert self.edges.roots is not None
        self.root = self.root or self.edges.roots.open()
        index = functools.partial(self.edges.blobs.index, keep=True)
        fresh = frozenset(times.new_to_a_run(state.made, index, self.options.source_date_epoch))
        self.seconds.part(state.layers, fresh)
        self.root.sync(state.layers, fresh=fresh)
        return self.root

    def _pack(self, items: Items | Sequence[Item], whiteouts: Sequence[bytes] = ()) -> LayerRef | None:
        blob = self.edges.scratch / f"layer-{next(_names)}"
        packed = packing.packed(items, whiteouts, blob=blob, compression=self.options.compression)
        return None if packed is None else self.edges.blobs.add(packed)

    def _why(self) -> str:
        return "cache not used" if self.options.no_cache else "not built before"
