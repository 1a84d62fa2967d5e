"""Layers of steps go where they are wanted as soon as they are made, while later steps run.

What cannot be sent is left to who sends at the end whatever is missing then, and tells what is wrong.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Self

from strata_builder import errors
from strata_builder.cli import caches, session, values
from strata_builder.engine import blobs, records, steps
from strata_builder.oci.image import LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference

_THREADS: Final = 2
"""One compresses or waits for the disk while the other sends."""
Where = tuple[str, str]
"""Host and repository."""


def places(
    opened: session.Session, outputs: Sequence[values.Output], plan: steps.Plan, platform: Platform
) -> Mapping[Where, Collection[int]]:
    """The stages whose layers each place wants: a cache those of all, the image those that it is made of."""
    found: dict[Where, Collection[int]] = {}
    if any(output.push for output in outputs):
        found |= {(name.host, name.repository): _of_the_image(plan) for name in map(Reference.parse, opened.given.tag)}
    for text in opened.given.cache_to:
        cache = caches.at(values.cache("--cache-to", text), platform)
        found[cache.host, cache.repository] = plan.stages.keys()
    return found


def _of_the_image(plan: steps.Plan) -> frozenset[int]:
    number, found = plan.target, {plan.target}
    while isinstance(base := plan.stages[number].base, steps.FromStage):
        number = base.index
        found.add(number)
    return frozenset(found)


class Uploads:
    """`made` is what `execute.Edges` tells. The context ends when all that was begun is done; at once where it fails."""

    def __init__(self, wanted: Mapping[Where, Collection[int]], opened: session.Session, store: blobs.Blobs) -> None:
        self._wanted, self._opened, self._store = wanted, opened, store
        self._queue: queue.SimpleQueue[tuple[Where, LayerRef] | None] = queue.SimpleQueue()
        self._refused: set[Where] = set()
        count = _THREADS if wanted else 0
        self._threads = [threading.Thread(target=self._work, name="upload", daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads if kind is None else ():
            thread.join()

    def made(self, stage: int, position: int, record: records.Record) -> None:  # noqa: ARG002
        if record.layer is None:
            return
        for where, stages in self._wanted.items():
            if stage in stages:
                self._queue.put((where, record.layer))

    def _work(self) -> None:
        while (found := self._queue.get()) is not None:
            where, layer = found
            if where not in self._refused:
                try:
                    self._send(where, layer)
                except (errors.BuildError, OSError):
                    self._refused.add(where)

    def _send(self, where: Where, layer: LayerRef) -> None:
        host, repository = where
        present, wanted = self._opened.caches.present[where], layer.descriptor
        if wanted.digest not in present:
            path = self._store.path(layer)
            self._opened.registries.get(host).upload_blob(repository, wanted, lambda: path.open("rb"))
            present.add(wanted.digest)
