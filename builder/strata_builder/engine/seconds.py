"""Keeps two versions of a file apart that programs tell by size and whole second: a .pyc its source, an ETag its page.

What a context brings comes to a step's root with the present time. Where it replaces a file of its own size, and the step
before ran in this very second, both would have one time; and what that step compiled would stand for the new source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from strata_builder.entries import Entry, Kind
from strata_builder.layers.index import Index
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs.view import View


class Seconds:
    """Of one stage. `index` gives a layer's entries, `wait` is called with the seconds until the next whole one."""

    def __init__(
        self,
        index: Callable[[LayerRef], Index],
        wait: Callable[[float], object],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._wait = wait
        self._clock = clock
        self._shown: tuple[LayerRef, ...] = ()
        self._last = 0

    def part(self, layers: Sequence[LayerRef], fresh: Collection[str]) -> None:
        """To be called before a step sees `layers`, of which those with their digests in `fresh` get the present time."""
        now = self._clock()
        if int(now) == self._last and self._replaces(layers[len(self._shown) :], fresh):
            self._wait(self._last + 1 - now)

    def ran(self, layers: Sequence[LayerRef]) -> None:
        """A step that saw `layers` has ended."""
        self._shown = tuple(layers)
        self._last = int(self._clock())

    def _replaces(self, layers: Sequence[LayerRef], fresh: Collection[str]) -> bool:
        """Whether a file of the new layers has the path and the size of one that is there."""
        below = View(tuple(map(self._index, self._shown)))
        new = (entry for layer in layers if layer.descriptor.digest in fresh for entry in self._index(layer))
        return any(_alike(entry, below.lookup(entry.path)) for entry in new)


def _alike(new: Entry, old: Entry | None) -> bool:
    return old is not None and new.kind is old.kind is Kind.FILE and new.size == old.size
