"""The caches of --cache-from, read from their registries while bases are looked up in theirs."""

from __future__ import annotations

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from strata_builder import errors
from strata_builder.cli import beside, values
from strata_builder.engine import artifact, images, indexes, records
from strata_builder.frozen import frozen
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry.registries import Registries

Note = Callable[[str], None]


@frozen
class Read:
    """What all of them know together, and where each one's tables of contents are."""

    records: records.Records
    tables: tuple[indexes.Kept, ...]


class Caches:
    """`seen` are caches as they were read, `present` the blobs that they say a repository (host, name) has."""

    def __init__(self, registries: Registries, provider: images.RegistryImages, note: Note) -> None:
        self._registries, self._images, self._note = registries, provider, note
        self.seen: dict[Reference, records.Records] = {}
        self.present: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    @contextlib.contextmanager
    def reading(self, sources: Sequence[values.CacheReference], platform: Platform) -> Iterator[Callable[[], Read]]:
        """What is given waits until all of `sources` are read; the end does, too, unless it is the user who ends it."""
        work = functools.partial(self._read, sources, platform)
        if not sources:
            yield work
            return
        with beside.ended() as begun:
            begun.append(beside.begun(work))
            yield begun[0].result

    def _read(self, sources: Sequence[values.CacheReference], platform: Platform) -> Read:
        found = [self._one(source, platform) for source in sources]
        whole = functools.reduce(records.Records.merged, (each for each, _ in found), records.Records())
        return Read(whole, tuple(tables for _, tables in found))

    def _one(self, source: values.CacheReference, platform: Platform) -> tuple[records.Records, indexes.Kept]:
        where = at(source, platform)
        registry = self._registries.get(where.host)
        try:
            found = artifact.read(registry, where.repository, where.version)
        except errors.BuildError as e:
            self._note(f"warning: the cache at {source.reference} cannot be read: {e.message}")
            return records.Records(), indexes.Nothing()
        self._images.knows(found.layers(), lambda d: registry.blob(where.repository, d.digest, d.size))
        self.seen[where] = found
        self.present[where.host, where.repository].update(blob.digest for blob in found.blobs())
        held = {layer: contents.blob for layer, contents in found.contents.items()}
        read = lambda blob: registry.blob_bytes(where.repository, blob, limit=blob.size)  # noqa: E731
        return found, indexes.Described(held, read, self._note)


def at(source: values.CacheReference, platform: Platform) -> Reference:
    """Where a cache lies; without a tag or digest, under the tag of its platform."""
    where = Reference.parse(source.reference)
    return where if where.tag or where.digest else where.with_tag(artifact.tag(platform))
