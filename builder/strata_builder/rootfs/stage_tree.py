"""Another stage's or image's files as a tree to copy from: looked up in indexes, contents taken out of the layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from strata_builder import errors
from strata_builder.context import tree
from strata_builder.entries import Entry, Kind, Readable
from strata_builder.layers import blame, files
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs.view import View


class StageTree:
    """A `context.Tree` over `layers`, whose indexes are in `shown`. The first content asked of a layer brings out, in one
    pass, all files of it whose digest was asked for until then; they wait in `scratch` until the build ends."""

    def __init__(
        self, shown: View, layers: Sequence[LayerRef], opener: Callable[[LayerRef], BinaryIO], scratch: Path
    ) -> None:
        self._view, self._layers, self._open, self._scratch = shown, tuple(layers), opener, scratch
        self._wanted: set[bytes] = set()
        self._places = _Places(scratch)
        self._lock = threading.Lock()

    def lookup(self, path: bytes) -> Entry | None:
        return self._view.lookup(path)

    def children(self, path: bytes) -> Sequence[bytes]:
        return self._view.children(path)

    def entries(self, path: bytes) -> Iterable[tree.Found]:
        return tree.one_by_one(self, path)

    def digest(self, path: bytes) -> str:
        with self._lock:
            if path not in self._places:
                self._wanted.add(path)
        return self._file(path).digest

    def identity(self, path: bytes) -> object:
        """The same for all names of one file within one layer.

        A layer may put another file in the place of one that has further names: those keep what they were made of.
        """
        number = self._view.layer_of(path)
        if number is None:
            return None
        index = self._view.index(number)
        entry = named = index.lookup(path)
        for _ in range(40):
            if entry is None or entry.kind != Kind.HARDLINK:
                break
            entry = index.lookup(entry.link)
        if entry is None or named is None or not index.has_links(entry.path):
            return None
        return number, entry.path, named._replace(path=b"", kind=Kind.FILE, link=b"")

    def open(self, path: bytes) -> Readable:
        with self._lock:
            if path not in self._places:
                self._bring(path)
            return self._places[path].open("rb", buffering=0)

    def _file(self, path: bytes) -> Entry:
        entry = self.lookup(path)
        if entry is None or entry.kind != Kind.FILE:
            raise errors.LayerError(f"there is no file /{path.decode('utf-8', 'replace')} to copy")
        return entry

    def _bring(self, path: bytes) -> None:
        number = self._view.layer_of(path)
        if number is None:
            raise errors.LayerError(f"there is no file /{path.decode('utf-8', 'replace')} to copy")
        self._scratch.mkdir(parents=True, exist_ok=True)
        together = {p for p in self._wanted if self._view.layer_of(p) == number} | {path}
        self._wanted -= together
        layer, places = self._layers[number], self._places.reserved(together)
        with self._open(layer) as blob, blame.layer(layer.descriptor.digest):
            files.extract(blob, layer.descriptor.media_type, places)
        self._places.take(places)


class _Places(Mapping[bytes, Path]):
    """Files that are called by their numbers: there may be a million, and a Path takes half a kilobyte."""

    def __init__(self, folder: Path, first: int = 0) -> None:
        self._folder, self._next = folder, first
        self._numbers: dict[bytes, int] = {}

    def __getitem__(self, path: bytes) -> Path:
        return self._folder / str(self._numbers[path])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, path: object) -> bool:
        return path in self._numbers

    def reserved(self, paths: Iterable[bytes]) -> _Places:
        """Places for `paths` that are not among these until they are taken."""
        found = _Places(self._folder, self._next)
        for path in paths:
            found._numbers[path] = found._next
            found._next += 1
        return found

    def take(self, places: _Places) -> None:
        self._next = places._next
        self._numbers.update(places._numbers)
