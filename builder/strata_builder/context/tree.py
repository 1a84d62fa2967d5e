"""What a build can read files from. Pure.

Paths are bytes relative to the tree's root, without leading or trailing slash; the root is b"". Nothing follows links:
a path through a symlink does not exist, and whoever wants to follow one asks for its `link`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from strata_builder.entries import Entry, Kind, Readable

Found = tuple[bytes, Entry, object]
"""A name in a directory, what is there, and its identity."""


class Tree(Protocol):
    """Files, folders and links, the same for as long as the value lives. May be used by several threads.

    Owners are 0:0 whoever owns the files here: the build machine's users mean nothing inside an image.
    """

    def lookup(self, path: bytes) -> Entry | None:
        """What is at `path`, as lstat tells; None if nothing is, or if it is ignored."""
        ...

    def children(self, path: bytes) -> Sequence[bytes]:
        """The sorted names in a directory; empty for everything else."""
        ...

    def entries(self, path: bytes) -> Iterable[Found]:
        """What `children`, `lookup` and `identity` tell of a directory: quicker than one by one."""
        ...

    def open(self, path: bytes) -> Readable:
        """The content of a regular file. Raises LayerError if there is none, or if it is no longer what lookup told."""
        ...

    def digest(self, path: bytes) -> str:
        """The digest (hex, see `contents`) of a regular file's content, remembered. Raises as `open` does."""
        ...

    def identity(self, path: bytes) -> object:
        """The same value for all names (hard links) of one file of this tree; None for a file that has one name."""
        ...


def one_by_one(found: Tree, path: bytes) -> Iterator[Found]:
    """`Tree.entries` of what has no quicker way."""
    for name in found.children(path):
        inner = join(path, name)
        entry = found.lookup(inner)
        if entry is not None:
            yield name, entry, found.identity(inner) if entry.kind is Kind.FILE else None


def parts(path: bytes) -> list[bytes]:
    """The components of `path`; the root has none."""
    return path.split(b"/") if path else []


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def show(path: bytes) -> str:
    """`path` for people: quoted, on one line, whatever bytes it holds."""
    text = path.decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f"'{text}'" if len(text) <= 300 else f"'{text[:140]}[...]{text[-140:]}'"
