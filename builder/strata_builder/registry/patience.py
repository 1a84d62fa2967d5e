"""How long a caller waits for a registry in all, however many requests, addresses and bytes that takes.

Each wait on a peer has its time-out, but one that sends a byte now and then is never late for any. That is well for a
build, which has a time-out of its own; the operator's threads serve everybody::

    with patience.within(60):
        registry.manifest(repository, tag)  # raises Unavailable a minute from now at the latest
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

    from _typeshed import ReadableBuffer, WriteableBuffer

_end: Final[ContextVar[float | None]] = ContextVar("end", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What this thread asks of registries fails when so many seconds have passed. Also a decorator."""
    before = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(before)


def ends() -> bool:
    return _end.get() is not None


def left(most: float) -> float:
    """As many seconds as are left, but not more than `most`. Raises TimeoutError if none are."""
    end = _end.get()
    seconds = most if end is None else min(most, end - time.monotonic())
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Socket:
    """A connected socket that waits no longer than the thread that uses it may; `seconds` is its own time-out."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self, self._sock.makefile("rb", buffering=0)))

    def sendall(self, data: ReadableBuffer) -> None:
        view = memoryview(data).cast("B")
        while view:
            self.wait()
            view = view[self._sock.send(view) :]

    def wait(self) -> None:
        """What follows is done in time. Raises TimeoutError if there is none."""
        self._sock.settimeout(left(self._seconds))


class _Reader(io.RawIOBase):
    def __init__(self, sock: Socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.wait()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
