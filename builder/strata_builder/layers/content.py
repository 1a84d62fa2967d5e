"""What files hold on their way into a layer's folder: hashed and handed on piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from strata_builder import contents
from strata_builder.entries import Entry, Readable
from strata_builder.layers import index

_BUFFER: Final = 1 << 20


class Contents(Protocol):
    """What a FILE holds, as `tarcontent.Content` gives it."""

    def whole(self) -> memoryview | None: ...
    def pieces(self) -> Iterator[memoryview]: ...


class _Nothing:
    """The content of an empty file."""

    def whole(self) -> memoryview:
        return memoryview(b"")

    def pieces(self) -> Iterator[memoryview]:
        return iter(())


NOTHING: Final = _Nothing()


class Copied:
    """The content of a file that is here already, as that of an entry."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def whole(self) -> None:
        return None

    def pieces(self) -> Iterator[memoryview]:
        view = memoryview(bytearray(_BUFFER))
        while count := self._file.readinto(view):
            yield view[:count]


def digest_of(
    entry: Entry, pieces: Iterable[memoryview], write: Callable[[memoryview], None] | None = None
) -> tuple[str, bytes | None]:
    """Reads all of a file, passing it on to `write`; its digest, and its text where an index keeps it."""
    digest = contents.hasher()
    text = bytearray() if index.keeps_text(entry) else None
    for piece in pieces:
        digest.update(piece)
        if write is not None:
            write(piece)
        if text is not None:
            text += piece
    return digest.hexdigest(), bytes(text) if text is not None else None


def write_all(fd: int, piece: memoryview) -> None:
    """All of it, however many calls that takes. Raises OSError."""
    while piece:
        piece = piece[os.write(fd, piece) :]
