"""The paths of a layer, a directory's names together: a base of forty thousand paths is read, checked and searched as a few
thousand directories. Pure.

Paths are numbered in that order: the root, if the layer holds it, then the names of each directory, sorted, the directories in
the order of a walk.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from strata_builder.layers import paths, record

_NO_NAMES: Final = frozenset({b"", b".", b".."})
_SLASH: Final = ord("/")
_AT_ONCE: Final = 1 << 16
_RESERVED: Final = b"\0" + paths.WHITEOUT


class Names:
    """`folders` are the directories that something is below of, the root always first. `ends` tells where among `names`
    those of each begin and end; before the first stands an empty one if the layer holds the root."""

    __slots__ = ("_ends", "_folders", "_implied", "_names", "_order", "held")

    def __init__(self, folders: Sequence[bytes], ends: array[int], names: list[bytes]) -> None:
        self._folders, self._order = dict(zip(folders, itertools.count(), strict=False)), folders
        self._ends, self._names = ends, names
        self._implied: dict[bytes, list[bytes]] = {}
        self.held = array("I")  # the numbers of `folders` but for those that the layer uses without holding them
        for folder in folders if self.has_below(b"") else ():
            number = self.find(folder)
            if number is not None:
                self.held.append(number)
            elif folder:
                above, name = paths.split(folder)
                self._implied.setdefault(above, []).append(name)

    @classmethod
    def of_folders(cls, found: Mapping[bytes, Collection[bytes]], passed: Callable[[bytes], None]) -> Names:
        """`found` are the names in directories, the root's own is b"" in itself. `passed` hears of each directory but the
        root that something is below of, and may refuse."""
        folders = {b""}
        for above in found:
            while above not in folders:
                passed(above)
                folders.add(above)
                above = paths.split(above)[0]
        ordered, names = sorted(folders, key=paths.order), [b""] * (b"" in found.get(b"", ()))
        ends = array("I", [len(names)])
        for folder in ordered:
            names += sorted(filter(None, found.get(folder, ())))
            ends.append(len(names))
        return cls(ordered, ends, names)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[bytes]:
        """The paths in the order of their numbers."""
        return itertools.chain(self._names[: self._ends[0]], self.below(b""))

    def folders(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Each directory that something is below of, with the names in it, in the order of their numbers."""
        starts = itertools.chain((0,), itertools.islice(self._ends, 1, None))
        for folder, start, end in zip(self._order, starts, itertools.islice(self._ends, 1, None), strict=False):
            yield folder, self._names[start:end]

    def below(self, folder: bytes) -> Iterator[bytes]:
        """The paths below `folder`, in the order of their numbers."""
        first = self._folders.get(folder, len(self._order))
        for group in range(first, len(self._order)):
            above = self._order[group]
            if group > first and folder and not above.startswith(folder + b"/"):
                return
            names = self._names[self._ends[group] : self._ends[group + 1]]
            yield from map((above + b"/").__add__, names) if above else names

    def find(self, path: bytes) -> int | None:
        """The number of `path`."""
        if not path:
            return 0 if self._ends[0] else None
        folder, _, name = path.rpartition(b"/")
        group = self._folders.get(folder) if folder or path[0] != _SLASH else None
        if group is None:
            return None
        end = self._ends[group + 1]
        at = bisect.bisect_left(self._names, name, self._ends[group], end)
        return at if at < end and self._names[at] == name else None

    def path(self, number: int) -> bytes:
        return next(itertools.islice(self, number, None))

    def walk(self) -> Iterator[tuple[bytes, int]]:
        """Paths with their numbers, each directory followed by all that is below it."""
        if self._ends[0]:
            yield b"", 0
        open_ = [self._members(b"")]
        while open_:
            for path, number in open_[-1]:
                if number >= 0:
                    yield path, number
                if path in self._folders:
                    open_.append(self._members(path))
                    break
            else:
                open_.pop()

    def _members(self, folder: bytes) -> Iterator[tuple[bytes, int]]:
        """The paths directly in `folder`; those that are implied have no number, but -1."""
        group = self._folders[folder]
        start, end = self._ends[group], self._ends[group + 1]
        names, numbers = self._names[start:end], [*range(start, end)]
        if implied := self._implied.get(folder):
            both = sorted([*zip(names, numbers, strict=True), *((name, -1) for name in implied)])
            names, numbers = [name for name, _ in both], [number for _, number in both]
        return zip(map((folder + b"/").__add__, names) if folder else names, numbers, strict=True)

    def children(self, folder: bytes) -> list[bytes]:
        """The names, sorted, that are held directly or indirectly in `folder`."""
        group = self._folders.get(folder)
        if group is None:
            return []
        names = self._names[self._ends[group] : self._ends[group + 1]]
        return sorted([*names, *self._implied[folder]]) if folder in self._implied else names

    def has_below(self, folder: bytes) -> bool:
        return folder in self._folders if folder else len(self) > self._ends[0]

    def implies(self, path: bytes) -> bool:
        """Whether it is a directory that the layer uses without holding it, as all use the root."""
        return path in self._folders and self.find(path) is None

    # as they are kept

    def pieces(self) -> Iterator[bytes]:
        """What `read` reads."""
        yield record.sized(b"\0".join(itertools.islice(self._folders, 1, None)))
        yield record.counts([*map(operator.sub, self._ends, (0, *self._ends))])
        yield from _joined(self._names, self._ends[0])

    @classmethod
    def read(cls, data: record.Reader, count: int) -> Names:
        """Those of `count` entries. Raises Impossible for what `pieces` cannot have made of paths of a layer."""
        folders = [b"", *_parts(data.sized())]
        counts, names = data.counts(), _parts(data.sized())
        if len(counts) != len(folders) + 1 or counts[0] > 1 or not sum(counts) == counts[0] + len(names) == count:
            raise record.Impossible("its counts contradict each other")
        _check_names(names)
        found = cls(folders, array("I", itertools.accumulate(counts)), [b""] * counts[0] + names)
        _check_folders(folders, counts)
        found._check_paths()
        return found

    def _check_paths(self) -> None:
        """That names are in order and the rest of the directories' names are some; that no path is too long."""
        begins = {*self._ends}
        falls = map(operator.ge, self._names, itertools.islice(self._names, 1, None))
        for number in itertools.compress(itertools.count(1), falls):
            if number not in begins:
                raise record.Impossible(f"{paths.show(self._names[number])} is out of order")
        for names in self._implied.values():
            _check_names(names)
        longest = _longest([*self._folders]) + 1 + _longest(self._names)
        if longest > paths.MAX_PATH and (path := next((p for p in self if len(p) > paths.MAX_PATH), None)):
            raise _no_path(path)


def _joined(names: Sequence[bytes], start: int) -> Iterator[bytes]:
    """Those from `start` on, for `_parts`, after their length. Some at a time: to join a name takes eighty bytes beside it."""
    count = len(names) - start
    yield record.count(sum(map(len, names)) + max(count - 1, 0))
    for at in range(start, len(names), _AT_ONCE):
        yield b"\0" * (at > start) + b"\0".join(names[at : at + _AT_ONCE])


def _parts(joined: bytes) -> list[bytes]:
    return joined.split(b"\0") if joined else []


def _check_names(names: Sequence[bytes]) -> None:
    """Many at once, and one by one where not all are names."""
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        joined = b"\0" + b"\0".join(some)
        if b"/" in joined or _RESERVED in joined or not _NO_NAMES.isdisjoint(some) or _longest(some) > paths.MAX_NAME:
            for name in some:
                if b"/" in name or name in _NO_NAMES or name.startswith(paths.WHITEOUT) or len(name) > paths.MAX_NAME:
                    raise _no_path(name)


def _check_folders(folders: Sequence[bytes], counts: Sequence[int]) -> None:
    """That they are in order, with all that are above them, and that something is below each."""
    places = [*map(paths.order, folders)]
    for at in itertools.compress(itertools.count(1), map(operator.ge, places, places[1:])):
        raise record.Impossible(f"the directory {paths.show(folders[at])} is out of order")
    used = {folder.rpartition(b"/")[0] for folder in folders}
    if alone := next(iter(used.difference(folders)), None) or next((f for f in folders if f.startswith(b"/")), None):
        raise record.Impossible(f"the directory {paths.show(alone)} is missing, or none of a layer")
    empty = itertools.compress(folders, map(operator.not_, counts[1:]))
    if (folder := next(itertools.filterfalse(used.__contains__, empty), None)) is not None:
        raise record.Impossible(f"nothing is below the directory {paths.show(folder)}")
    if too_long := next((folder for folder in folders if len(folder) > paths.MAX_PATH), None):
        raise _no_path(too_long)


def _no_path(path: bytes) -> record.Impossible:
    return record.Impossible(f"{paths.show(path)} is no path of a layer")


def _longest(names: Sequence[bytes]) -> int:
    return max(map(len, names), default=0)
