"""The content of a tar's entry, in the archive or among its holes; and where in the archive something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata_builder import errors
from strata_builder.layers import paths, tarfields
from strata_builder.layers.source import Source

_ZEROS: Final = memoryview(bytes(1 << 20))


class Where:
    """Where in the archive something is wrong, in words: made only when they are wanted."""

    __slots__ = ("_name", "_words")

    def __init__(self, words: str, name: bytes | None = None) -> None:
        self._words, self._name = words, name

    def __str__(self) -> str:
        return self._words if self._name is None else f"{self._words} {paths.show(self._name)}"


class Content:
    """What a FILE holds: read once, front to back, before the next entry is asked for. Holes come as zeros."""

    __slots__ = ("_at", "_name", "_segments", "_size", "_source", "stored_left")

    def __init__(self, source: Source, size: int, name: bytes, segments: tarfields.Segments | None = None) -> None:
        self._source = source
        self._name = name
        self._segments = None if segments is None else segments[::-1]
        self._at = 0
        self._size = size
        self.stored_left = size if segments is None else sum(length for _, length in segments)

    def whole(self) -> memoryview | None:
        """All of it, as small files lie in memory, until the next entry is asked for; None where it has to be read in
        pieces. To be asked before anything is read."""
        found = self._source.whole(self._size) if self._segments is None else None
        if found is not None:
            self._at, self.stored_left = self._size, 0
        return found

    def pieces(self) -> Iterator[memoryview]:
        """All that is left, as it lies in memory; each piece is gone when the next one is asked for."""
        while piece := self._piece(_ZEROS.nbytes):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """As of a raw file: all that is left, or some of the next `size` bytes."""
        return b"".join(self.pieces()) if size < 0 else bytes(self._piece(size))

    def readinto(self, buffer: bytearray | memoryview) -> int:
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Nothing: what is not read is passed over."""

    def _piece(self, most: int) -> memoryview:
        most = min(most, self._size - self._at)
        start, length = self._segment()
        if self._at < start:
            piece = _ZEROS[: min(most, start - self._at)]
        elif piece := self._source.piece(min(most, start + length - self._at)):
            self.stored_left -= len(piece)
        elif most:
            raise cut_short(Where("entry", self._name))
        self._at += len(piece)
        return piece

    def _segment(self) -> tuple[int, int]:
        """Offset and length of the stored bytes that come next, or are being read."""
        if self._segments is None:
            return 0, self._size
        while self._segments and self._at >= self._segments[-1][0] + self._segments[-1][1]:
            self._segments.pop()
        return self._segments[-1] if self._segments else (self._size, 0)


def cut_short(where: Where) -> errors.LayerError:
    return errors.LayerError(f"{where}: the archive is cut short", hint="fetch or make the file again")
