"""Exact reads over a chunked stream, hashed and counted as they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from strata_builder import errors
from strata_builder.frozen import frozen


@frozen
class Limits:
    """How much of a layer is believed: bytes of tar and of file content, entries, bytes of one extended header."""

    total: int = 1 << 40
    entries: int = 2_000_000
    extended: int = 1 << 20


class Source:
    """Nearly all reads lie within one chunk, so each of them looks there first."""

    def __init__(self, chunks: Iterator[bytes], limits: Limits) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._view = memoryview(b"")
        self._at = self._end = 0
        self._digest = hashlib.sha256()
        self._limits = limits
        self._seen = 0
        self._expanded = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, which stay where they are; nothing where they do not lie in one chunk."""
        end = self._at + size
        return self._chunk[self._at : end] if end <= self._end else b""

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        at, end = self._at, self._at + size
        if end <= self._end:
            self._at = end
            return self._chunk[at:end]
        parts = bytearray()
        while len(parts) < size and self._fill():
            parts += self.piece(size - len(parts))
        return bytes(parts)

    def piece(self, most: int) -> memoryview:
        """Some of the next `most` bytes, as they lie here; empty only at the end of the stream, or for 0."""
        if not most or not self._fill():
            return self._view[:0]
        at = self._at
        self._at = min(at + most, self._end)
        return self._view[at : self._at]

    def whole(self, size: int) -> memoryview | None:
        """The next `size` bytes where they lie in one chunk; None, and nothing read, where they do not."""
        at, end = self._at, self._at + size
        if end > self._end:
            return None
        self._at = end
        return self._view[at:end]

    def skip(self, size: int) -> int:
        """Passes over `size` bytes; returns how many there were."""
        end = self._at + size
        if end <= self._end:
            self._at = end
            return size
        left = size
        while left and self._fill():
            left -= len(self.piece(left))
        return size - left

    def expand(self, size: int) -> None:
        """Counts `size` bytes that a sparse file has beyond those in the stream."""
        self._expanded += size
        self._check()

    def drain(self) -> None:
        while self._fill():
            self._at = self._end

    def digest(self) -> str:
        """ "sha256:<hex>" of everything passed; of the whole stream after `drain`."""
        return f"sha256:{self._digest.hexdigest()}"

    def _fill(self) -> bool:
        while self._at == self._end:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._digest.update(chunk)
            self._seen += len(chunk)
            self._check()
            self._chunk, self._view = chunk, memoryview(chunk)
            self._at, self._end = 0, len(chunk)
        return True

    def _check(self) -> None:
        if self._seen + self._expanded > self._limits.total:
            raise errors.LayerError(f"the layer is larger than {self._limits.total} bytes when unpacked")
