"""The digests of many files: large ones side by side, for hashing releases the interpreter's lock, small ones in turn."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from strata_builder import workers
from strata_builder.context import folder
from strata_builder.context.tree import Tree
from strata_builder.entries import Entry, Kind, with_digest

_LARGE: Final = 256 << 10  # bytes; below it handing over takes longer than hashing
_AT_ONCE: Final = 4096  # entries that are looked at together: memory does not grow with the tree


@contextlib.contextmanager
def ahead(tree: Tree, path: bytes) -> Iterator[None]:
    """Meanwhile other processes help with the directory `path` of `tree`, which is walked from end to end."""
    if not isinstance(tree, folder.FolderTree):
        yield
        return
    with workers.borrowed() as helpers:
        if helpers:
            with tree.ahead(path, helpers):
                yield
        else:
            yield


class Named(NamedTuple):
    """`entry` is what `tree` has at `path`; `name` is how it is called where it goes."""

    name: bytes
    tree: Tree
    path: bytes
    entry: Entry


def digested(found: Iterable[Named]) -> Iterator[tuple[bytes, Entry]]:
    """(name, entry with the digest of its content, if it is a FILE), in the order in which they are given.

    Raises as Tree.digest does.
    """
    entries = iter(found)
    while some := list(itertools.islice(entries, _AT_ONCE)):
        _hash_large(some)
        for name, tree, path, entry in some:
            unknown = entry.kind is Kind.FILE and not entry.digest
            yield name, with_digest(entry, tree.digest(path)) if unknown else entry


def _hash_large(some: list[Named]) -> None:
    """Trees remember the digests of their files."""
    large = [one for one in some if one.entry.size >= _LARGE and one.entry.kind is Kind.FILE and not one.entry.digest]
    threads = min(len(large), len(os.sched_getaffinity(0)))
    if threads < 2:
        return
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(one.tree.digest, one.path) for one in large]:
            done.result()
