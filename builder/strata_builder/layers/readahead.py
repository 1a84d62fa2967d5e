"""The next pieces of a stream are made while the last one is worked on.

Fetching, inflating and hashing release the interpreter's lock, so that reading a layer keeps two processors busy.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Final

DEPTH: Final = 4
"""Pieces that wait at most, besides the one in the making and the one at work."""


def ahead(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same pieces, made by a thread of their own; whatever `pieces` raises is raised here, in its place.

    What has no more than one piece gets no thread. Closing the iterator ends the thread and `pieces`.
    """
    first, second = next(pieces, None), next(pieces, None)
    for piece in (first, second):
        if piece is not None:
            yield piece
    if second is not None:
        yield from _Thread(pieces)


class _Thread:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._made: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, name="readahead", daemon=True)

    def __iter__(self) -> Iterator[bytes]:
        self._thread.start()
        try:
            while (piece := self._made.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self._stop()

    def _make(self) -> None:
        last: BaseException | None = None
        try:
            for piece in self._pieces:
                if self._unwanted.is_set():
                    return
                self._made.put(piece)
        except BaseException as error:  # noqa: BLE001 - raised where the pieces are wanted
            last = error
        self._made.put(last)

    def _stop(self) -> None:
        """Makes room until the thread has seen that nothing is wanted any more."""
        self._unwanted.set()
        while self._thread.is_alive():
            while not self._made.empty():
                self._made.get_nowait()
            self._thread.join(0.01)
