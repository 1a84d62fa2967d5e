"""A layer becomes one lower directory of an overlay, in two halves.

Its entries are written without a thought of other layers, so many can be at work side by side, some of them in other
processes. Its end (see `settle`) asks what the layers below hold.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from strata_builder import workers
from strata_builder.entries import Entry
from strata_builder.frozen import frozen
from strata_builder.layers import index, indexfile, ownership, places, restore, settle, storage, unpack
from strata_builder.layers.content import NOTHING
from strata_builder.layers.recorded import Skipped
from strata_builder.layers.writing import Writing

_USERS: Final = "/proc/self/ns/user"
_NONE: Final = frozenset[bytes]()


@frozen
class Wanted:
    """What is written of a layer: the tar that `diff_id` names, but for the paths `covered`. Where its index is `known`,
    which `diff_id` proves to be this layer's, contents are not hashed once more."""

    media_type: str
    diff_id: str
    known: index.Index | None = None
    covered: frozenset[bytes] = _NONE


@frozen
class Written:
    """A layer whose entries are there. `skipped` could not be set; `implied` and `times` are those of `places.Places`."""

    contents: index.Index
    skipped: tuple[Skipped, ...]
    implied: Collection[bytes]
    times: Mapping[bytes, int]


def from_index(known: index.Index, covered: frozenset[bytes], root: Path) -> Written:
    """Writes a layer that has neither content nor hard links, but for what is `covered`. Raises as `from_blob` does."""
    skipped: list[Skipped] = []
    options = _options(covered, hashes=False)
    with storage.full_is_a_limit(root), Writing(root, _Reused(known), options, skipped) as writing:
        for entry in known:
            writing.entry(entry, NOTHING)
        return _written(known, writing.places, skipped)


def from_blob(blob: BinaryIO, wanted: Wanted, root: Path) -> Written:
    """Writes a layer. Raises LayerError naming the entry, StorageLimitExceeded, OSError."""
    built = index.Builder() if wanted.known is None else _Reused(wanted.known)
    return _from_blob(blob, wanted, root, built, hashes=wanted.known is None)


def _from_blob(blob: BinaryIO, wanted: Wanted, root: Path, built: index.Builder, *, hashes: bool) -> Written:
    skipped: list[Skipped] = []
    options = _options(wanted.covered, hashes=hashes)
    with storage.full_is_a_limit(root), Writing(root, built, options, skipped) as writing:
        for entry, content in unpack.contents(blob, wanted.media_type, built, diff_id=wanted.diff_id):
            writing.entry(entry, content)
        return _written(built.finish(), writing.places, skipped)


def by(worker: workers.Worker, blob: BinaryIO, wanted: Wanted, root: Path) -> Written:
    """As `from_blob`, in another process. Raises workers.Failed whatever went wrong: what it wrote then still lies there."""
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = (os.readlink(_USERS), wanted.media_type, wanted.diff_id, wanted.known is None, wanted.covered)
        worker.ask(_called, *how, descriptors=(blob.fileno(), place))
        told, skipped, implied, times = worker.answer()
    finally:
        os.close(place)
    contents = wanted.known or indexfile.from_plain(told)
    return Written(contents, tuple(Skipped(*each) for each in skipped), implied, times)


def wake(worker: workers.Worker) -> None:
    """Has it load all that `by` needs, while that waits for something else. Raises workers.Failed."""
    worker.ask(_loaded)
    worker.answer()


def _loaded() -> None:
    """In the worker, which has loaded this module to call it."""


def finish(written: Written, root: Path, lower: Callable[[bytes], Entry | None]) -> tuple[Skipped, ...]:
    """The other half; `lower` looks paths up in the layers below. All that could not be set. Raises as `from_blob` does."""
    skipped = [*written.skipped]
    options = _options(lower=lower)
    with storage.full_is_a_limit(root), places.Places(root, written.contents, options.skip) as found:
        found.implied.update(written.implied)
        found.times.update(written.times)
        settle.settle(found, written.contents, options, ownership.Ownership(options.owner, skipped))
    return tuple(skipped)


def _options(
    covered: frozenset[bytes] = _NONE, *, hashes: bool = True, lower: Callable[[bytes], Entry | None] | None = None
) -> restore.Options:
    record = ownership.OwnerPolicy.RECORD
    return restore.Options(overlay=True, owner=record, lower=lower, hashes=hashes, covered=covered)


def _written(contents: index.Index, found: places.Places, skipped: list[Skipped]) -> Written:
    return Written(contents, tuple(skipped), found.implied, found.times)


def _called(
    users: str, media_type: str, diff_id: str, hashes: bool, covered: frozenset[bytes], descriptors: list[int]
) -> tuple[Any, ...]:
    """In the worker. It has to be in the same user namespace, whose numbers the owners are."""
    if os.readlink(_USERS) != users:
        raise OSError(f"the worker is not in the user namespace {users}")
    blob, place = descriptors
    with io.FileIO(blob, closefd=False) as stream:
        wanted, root = Wanted(media_type, diff_id, covered=covered), Path(f"/proc/self/fd/{place}")
        found = _from_blob(stream, wanted, root, index.Builder(), hashes=hashes)
    contents = indexfile.plain(found.contents) if hashes else b""
    skipped = [(each.path, each.what, each.why) for each in found.skipped]
    return contents, skipped, [*found.implied], dict(found.times)


class _Reused(index.Builder):
    """Stands for the builder of an index that is there already: it knows what has been told."""

    def __init__(self, known: index.Index) -> None:
        super().__init__()
        self._known = known
        self._told: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        return path in self._told

    def add(self, entry: Entry, text: bytes | None = None) -> None:  # noqa: ARG002
        self._told.add(entry.path)

    def lookup(self, path: bytes) -> Entry | None:
        return self._known.lookup(path) if path in self._told else None

    def finish(self) -> index.Index:
        return self._known
