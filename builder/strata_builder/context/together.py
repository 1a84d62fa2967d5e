"""Reads a folder's tree with the help of other processes, a little ahead of whoever walks it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from strata_builder import workers
from strata_builder.context import elsewhere, listing
from strata_builder.context.tree import join
from strata_builder.entries import Kind

if TYPE_CHECKING:
    from strata_builder.context.folder import FolderTree

_FILE: Final = 64 << 10  # bytes that could be hashed while a file is opened and closed
_BATCH: Final = 4 << 20  # bytes of a call, files counted with the above: some 2 ms
_ASKED: Final = 2  # calls that a worker has at least: it never waits for the next
_MOST: Final = 50  # and at most: what it has nobody else can do
_FOLDERS: Final = 8  # that are read in one call
_READ: Final = 512 << 10  # bytes that could be hashed while a small directory is read


class _Call(NamedTuple):
    """A directory to be read; or, with `files` (positions), those of its files that are to be hashed.

    `weight` is what it costs in bytes that could be hashed meanwhile, `began` a time of the tree's before it is made.
    """

    folder: bytes
    weight: int
    began: int
    files: list[int] | None = None


class Together:
    """All below the directory `top` of `tree`; `ready` comes before a look at a directory."""

    def __init__(self, tree: FolderTree, top: bytes, helpers: Sequence[workers.Worker]) -> None:
        self._tree = tree
        self._asked: dict[workers.Worker, deque[list[_Call]]] = {helper: deque() for helper in helpers}
        self._todo: list[_Call] = []  # the last is the first that is wanted
        self._open: dict[bytes, int] = {}  # of a directory, how many of its calls have not been made
        self._seen: set[object] = set()  # files with several names that are hashed, or being hashed
        self._add(_Call(top, _READ, tree.now()))

    def ready(self, folder: bytes) -> None:
        """Ends when the directory is known, and the digests of its files are. Raises LayerError."""
        self._hand_out(0)
        while self._open.get(folder):
            self._one_more()

    # calls

    def _add(self, call: _Call) -> None:
        self._open[call.folder] = self._open.get(call.folder, 0) + 1
        self._todo.append(call)

    def _done(self, call: _Call) -> None:
        self._open[call.folder] -= 1
        if not self._open[call.folder]:
            del self._open[call.folder]

    def _one_more(self) -> None:
        """One call is made here, or waited for."""
        if self._todo:
            call = self._todo.pop()
            self._hand_out(call.weight)
            self._make(call)
        else:
            workers.ready(helper for helper, calls in self._asked.items() if calls)
        self._hand_out(0)

    def _make(self, call: _Call) -> None:
        found = self._tree.directories.read(call.folder)
        if call.files:
            self._tree.hash(call.folder, found, call.files)
        else:
            self._learnt(call.folder, found)
        self._done(call)

    def _learnt(self, folder: bytes, found: listing.Listing) -> None:
        """What is below a directory, and what of its files is not known, is to be done next."""
        kept = self._tree.kept.positions(folder, found)
        for at in reversed(kept):
            if found.kind(at) is Kind.DIR:
                self._add(_Call(join(folder, found.names[at]), _READ, self._tree.now()))
        for call in reversed(self._hashing(folder, found, kept)):
            self._add(call)

    def _hashing(self, folder: bytes, found: listing.Listing, kept: Sequence[int]) -> list[_Call]:
        calls: list[_Call] = []
        files: list[int] = []
        weight = 0
        if found.is_shared:
            kept = [at for at in kept if self._is_first(found.identity(at))]
        for at in self._tree.unhashed(found, kept):
            files.append(at)
            weight += _FILE + found.size(at)
            if weight >= _BATCH:
                calls.append(_Call(folder, weight, self._tree.now(), files))
                files, weight = [], 0
        return [*calls, _Call(folder, weight, self._tree.now(), files)] if files else calls

    def _is_first(self, identity: object) -> bool:
        if identity is None:
            return True
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    # workers

    def _hand_out(self, weight: int) -> None:
        """So that each has enough to do while `weight` is done here."""
        for helper, asked in list(self._asked.items()):
            try:
                while asked and helper.is_done():
                    self._take(helper, asked)
                while self._todo and _has_room(asked, weight):
                    if self._is_known(self._todo[-1]):
                        self._make(self._todo.pop())
                    else:
                        asked.append(self._next())
                        self._ask(helper, asked[-1])
            except workers.Failed:
                self._todo += (call for calls in reversed(asked) for call in reversed(calls))  # here, or by another
                del self._asked[helper]

    def _next(self) -> list[_Call]:
        """Small ones together: to ask and to listen takes as long as to read a small directory."""
        calls = [self._todo.pop()]
        while len(calls) < _FOLDERS and self._todo and not calls[-1].files and not self._todo[-1].files:
            if self._is_known(self._todo[-1]):
                break
            calls.append(self._todo.pop())
        return calls

    def _is_known(self, call: _Call) -> bool:
        """A directory that was read for something else."""
        return not call.files and self._tree.directories.is_read(call.folder)

    def _ask(self, helper: workers.Worker, calls: list[_Call]) -> None:
        first = calls[0]
        if first.files:
            found = self._tree.directories.read(first.folder)
            names = [found.names[at] for at in first.files]
            helper.ask(
                elsewhere.digests, self._tree.directories.identified, first.folder, names, found.stamps(first.files)
            )
        else:
            most = 0 if self._tree.is_choosy else _BATCH
            helper.ask(elsewhere.read, self._tree.directories.identified, [call.folder for call in calls], most)

    def _take(self, helper: workers.Worker, asked: deque[list[_Call]]) -> None:
        answer, calls = helper.answer(), asked.popleft()
        if calls[0].files:
            self._tree.hashed(self._tree.directories.read(calls[0].folder), calls[0].files, answer, calls[0].began)
            self._done(calls[0])
            return
        for call, result in reversed(list(zip(calls, answer, strict=True))):
            if result is None or self._is_known(call):
                self._make(call)
                continue
            found = listing.Listing.of(result[0])
            self._tree.directories.learn(call.folder, found)
            if result[1]:
                self._tree.hashed(found, found.files(), result[1], call.began)
            self._learnt(call.folder, found)
            self._done(call)


def _has_room(asked: Sequence[list[_Call]], weight: int) -> bool:
    if len(asked) < _ASKED:
        return True
    return len(asked) < _MOST and sum(call.weight for calls in asked for call in calls) < weight
