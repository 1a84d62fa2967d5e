"""What the engine needs of a file system in which steps run; rootfs and sandbox provide it, one class a rung."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from strata_builder.layers.items import Items
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import view
from strata_builder.sandbox import command


class Root(Protocol):
    """One stage's file system, in step with a list of layers. Used by one thread at a time."""

    def sync(self, layers: Sequence[LayerRef], *, fresh: Collection[str] = ()) -> None:
        """Make it what `layers` (the lowest first) are; what is there already is not done again.

        `fresh` are digests of layers whose files get this moment as their time: what a context brought.
        """
        ...

    def run(
        self,
        wanted: command.Command,
        *,
        output: Callable[[bytes], None],
        timeout: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        """Run one step. Its changes wait for `changes`."""
        ...

    def changes(self, lower: view.View, *, clamp: int | None) -> tuple[Items, list[bytes]]:
        """What the last run changed against `lower`: entries, and paths gone. Times above `clamp` become it."""
        ...

    def commit(self, layer: LayerRef | None) -> None:
        """The changes are now `layer` (None: nothing changed); the next `sync` counts from there."""
        ...

    def close(self) -> None: ...


class Roots(Protocol):
    """Makes roots. `exclusive` tells that only one can exist at a time, so stages must follow one another."""

    exclusive: bool

    def open(self) -> Root: ...

    def show(self, layers: Sequence[LayerRef]) -> AbstractContextManager[Path]:
        """A folder that shows `layers` merged, to bind from; what is written there is thrown away."""
        ...

    def caches(self) -> Path:
        """Where RUN's cache mounts live."""
        ...
