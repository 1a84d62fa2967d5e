"""Bytes go through once: filled slabs are hashed, compressed and written by threads while the next one is being filled.

    caller -> slab -> sha256 and crc32 of the tar (one thread)
                   -> compress (N threads) -> sha256 of the blob, and the sink (one thread, in order)

Memory is bounded by the number of slabs: a slab is taken back only when its compressed bytes are written. hashlib, isal
and zstd release the interpreter's lock for slabs of this size. With one thread everything happens in the caller's.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import queue
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from isal import isal_zlib

from strata_builder.frozen import frozen
from strata_builder.layers import compress

SLABS: Final = 8
MAX_WORKERS: Final = 4


@frozen
class Totals:
    """What went through: hex digests and sizes in bytes, of the tar and of the blob."""

    diff_id: str
    size_uncompressed: int
    digest: str
    size: int


class _Inline(concurrent.futures.Executor):
    """Runs each task at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(fn(*args, **kwargs))
        return future


def available_threads() -> int:
    return len(os.sched_getaffinity(0))


class Pipeline:
    """A context manager: `write` or `room`/`advance`, then `finish`. The first error of any stage is raised."""

    def __init__(self, codec: compress.Codec, sink: BinaryIO, threads: int | None = None) -> None:
        self._codec = codec
        self._sink = sink
        workers = min(threads or available_threads(), MAX_WORKERS)
        self._hashing, self._compressing, self._writing = (_pool(workers > 1, size) for size in (1, workers, 1))
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(SLABS if workers > 1 else 1):
            self._free.put(bytearray(compress.BLOCK))
        self._failure: BaseException | None = None
        self._tar, self._blob = hashlib.sha256(), hashlib.sha256()
        self._crc = self._tar_size = self._blob_size = 0
        self._window = b""
        self._slab, self._used = self._free.get(), 0
        self._view = memoryview(self._slab)
        self._put(codec.head())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._compressing, self._hashing, self._writing):
            pool.shutdown(wait=True, cancel_futures=kind is not None)

    def write(self, data: bytes) -> None:
        """Takes `data` (headers, padding, small files)."""
        end = self._used + len(data)
        if end < compress.BLOCK:
            self._view[self._used : end] = data
            self._used = end
            return
        rest = memoryview(data)
        while rest:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def room(self) -> memoryview:
        """The unfilled part of the current slab, never empty: read into it, then `advance`."""
        return self._view[self._used :]

    def advance(self, count: int) -> None:
        self._used += count
        if self._used == compress.BLOCK:
            self._send()
            self._slab, self._used = self._take(), 0
            self._view = memoryview(self._slab)

    def finish(self) -> Totals:
        """Waits for every stage; the sink then holds the whole blob."""
        if self._used:
            self._send()
        last = self._writing.submit(lambda: None)
        last.result()
        self._check()
        self._put(self._codec.tail(self._crc, self._tar_size))
        return Totals(self._tar.hexdigest(), self._tar_size, self._blob.hexdigest(), self._blob_size)

    def _send(self) -> None:
        data, window = self._view[: self._used], self._window
        if len(data) == compress.BLOCK:
            self._window = bytes(data[-compress.WINDOW :])
        compressed = self._compressing.submit(self._codec.block, data, window)
        hashed = self._hashing.submit(self._hash, data)
        self._writing.submit(self._settle, self._slab, compressed, hashed)

    def _hash(self, data: memoryview) -> None:
        self._tar.update(data)
        self._crc = isal_zlib.crc32(data, self._crc)
        self._tar_size += len(data)

    def _settle(
        self,
        slab: bytearray,
        compressed: concurrent.futures.Future[bytes | memoryview],
        hashed: concurrent.futures.Future[None],
    ) -> None:
        try:
            self._put(compressed.result())
            hashed.result()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread, by _check
            self._failure = self._failure or error
        finally:
            self._free.put(slab)

    def _put(self, data: bytes | memoryview) -> None:
        self._blob.update(data)
        self._blob_size += len(data)
        self._sink.write(data)

    def _take(self) -> bytearray:
        slab = self._free.get()
        self._check()
        return slab

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


def _pool(threaded: bool, size: int) -> concurrent.futures.Executor:
    return concurrent.futures.ThreadPoolExecutor(size) if threaded else _Inline()
