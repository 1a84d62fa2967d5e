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
    def __init__(self, chunks: Iterator[bytes], limits: Limits) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self._digest = hashlib.sha256()
        self._limits = limits
        self._seen = 0
        self._expanded = 0

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        if len(self._chunk) >= size:
            piece = bytes(self._chunk[:size])
            self._chunk = self._chunk[size:]
            return piece
        parts = bytearray()
        while len(parts) < size and self._fill():
            piece = bytes(self._chunk[: size - len(parts)])
            self._chunk = self._chunk[len(piece) :]
            parts += piece
        return bytes(parts)

    def piece(self, most: int) -> memoryview:
        """Some of the next `most` bytes, as they lie here; empty only at the end of the stream, or for 0."""
        if not most or not self._fill():
            return self._chunk[:0]
        found = self._chunk[:most]
        self._chunk = self._chunk[most:]
        return found

    def skip(self, size: int) -> int:
        """Passes over `size` bytes; returns how many there were."""
        left = size
        while left and self._fill():
            count = min(left, len(self._chunk))
            self._chunk = self._chunk[count:]
            left -= count
        return size - left

    def expand(self, size: int) -> None:
        """Counts `size` bytes that a sparse file has beyond those in the stream."""
        self._expanded += size
        self._check()

    def drain(self) -> None:
        while self._fill():
            self._chunk = memoryview(b"")

    def digest(self) -> str:
        """ "sha256:<hex>" of everything passed; of the whole stream after `drain`."""
        return f"sha256:{self._digest.hexdigest()}"

    def _fill(self) -> bool:
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._digest.update(chunk)
            self._seen += len(chunk)
            self._check()
            self._chunk = memoryview(chunk)
        return True

    def _check(self) -> None:
        if self._seen + self._expanded > self._limits.total:
            raise errors.LayerError(f"the layer is larger than {self._limits.total} bytes when unpacked")
