"""Stages' file systems as overlay mounts: each layer unpacked once, what a step changed is the next layer."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from strata_builder.entries import Entry, Kind
from strata_builder.layers import diff
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import kernel, placed, points, stack
from strata_builder.rootfs.lowers import Lower, Lowers
from strata_builder.rootfs.view import View

_ROOT: Final = Entry(b"", Kind.DIR, 0o755)


class Stage:
    """One stage's file system: layers, and what the present step changes above them. Used by one thread at a time."""

    def __init__(self, lowers: Lowers) -> None:
        self._lowers = lowers
        self._folder = lowers.new(lowers.stages)
        self._layers: list[LayerRef] = []
        self._stack: list[Lower] = []
        self._folder.mkdir(parents=True)
        for name in ("empty", "root"):
            (self._folder / name).mkdir()

    @property
    def root(self) -> Path:
        """An empty directory to mount the stage at."""
        return self._folder / "root"

    def sync(self, layers: Sequence[LayerRef], fresh: Collection[str] = ()) -> None:
        """Makes the stage what `layers` (the lowest first) are. Those whose digests are in `fresh` come to it now,
        with their files' times."""
        same = 0
        while same < min(len(layers), len(self._layers)) and layers[same] == self._layers[same]:
            same += 1
        if same < len(self._layers) and not all(lower.whole for lower in self._stack):
            same = 0  # what covered some of it may be among those that go
        del self._layers[same:], self._stack[same:]
        self._stack += self._lowers.over(layers[:same], layers[same:], fresh)
        self._layers += layers[same:]

    def begin(self) -> stack.Stack:
        """A fresh place for changes over the layers."""
        for name in ("upper", "work"):
            self._lowers.trash.throw(self._folder / name)
            (self._folder / name).mkdir(mode=0o755)
        self._dress(self._folder / "upper")
        lowest = max((number for number, lower in enumerate(self._stack) if lower.lowest), default=0)
        lowers = tuple(lower.path for lower in self._stack[lowest:]) or (self._folder / "empty",)
        return stack.Stack(lowers, self._folder / "upper", self._folder / "work")

    def forget(self, made: Sequence[bytes]) -> None:
        """Removes mount points (parents first) that were made for a step, unless it put something into them."""
        points.forget(self._folder / "upper", made)

    def changes(self, lower: View, *, clamp: int | None) -> diff.Changes:
        """What the step changed against `lower`, the view of the layers. The items open files of the stage, which
        has to stay as it is until they are packed. Raises LayerError."""
        times = {number: found.time for number, found in enumerate(self._stack) if found.time is not None}
        unset = [skipped for found in self._stack for skipped in found.unset]
        dated = placed.Dated(lower, times)
        return diff.diff_upper(self._folder / "upper", dated, clamp_mtime=clamp, unset=unset)

    def commit(self, layer: LayerRef | None) -> None:
        """The changes are `layer` now; None: there were none."""
        if layer is None:
            self._lowers.trash.throw(self._folder / "upper")
            return
        self._stack.append(self._lowers.keep(layer, tuple(self._layers), self._folder / "upper"))
        self._layers.append(layer)

    def close(self) -> None:
        self._lowers.trash.throw(self._folder)

    def _dress(self, upper: Path) -> None:
        """The root directory that a step sees is the upper one."""
        root = next((lower.root for lower in reversed(self._stack) if lower.root is not None), _ROOT)
        with suppress(PermissionError, OverflowError):
            os.chown(upper, root.uid, root.gid)
        upper.chmod(root.mode)


@contextmanager
def shown(lowers: Lowers, layers: Sequence[LayerRef]) -> Iterator[Path]:
    """A folder that shows `layers` merged, mounted in this process's mount namespace; what is written there is thrown
    away."""
    stage = Stage(lowers)
    try:
        stage.sync(layers)
        stack.mount(stage.begin(), stage.root)
        try:
            yield stage.root
        finally:
            kernel.unmount(os.fsencode(stage.root))
    finally:
        stage.close()
