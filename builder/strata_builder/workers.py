"""Further processes of this program, one for each core but one: Python code of one process runs on one core at a time.

They are forked before the program has threads, since a fork beside threads may inherit a lock that nobody gives back. Each
does what it is asked, one call after another, and ends with this process. They are for speed alone: where there is none,
or where one failed, the caller does the work itself, so that an error has one source.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn

_HEAD: Final = struct.Struct("<IB")  # bytes of a message, and the descriptors that come with it
_DESCRIPTORS: Final = 8
MOST: Final = 7
"""Further ones would wait for the one process that plans, compresses and sends."""

_idle: deque[Worker] = deque()
_lock: Final = threading.Lock()


class Failed(Exception):
    """A call did not end well, or its worker is gone; the text is for logs."""


class Worker:
    """One of the processes, while it is borrowed. Not for several threads."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self._pid = pid
        self._connection = connection
        self._answers: deque[bytes] = deque()  # that had to be taken for the worker to go on
        self.waiting = 0
        """Calls whose answers have not been taken."""

    def ask(self, function: Callable[..., Any], *arguments: Any, descriptors: tuple[int, ...] = ()) -> None:
        """Has `function` (of a module) called, with arguments and a result that marshal knows; it gets its own copies of
        the descriptors as a list behind them. Raises Failed."""
        message = marshal.dumps((function.__module__, function.__qualname__, arguments))
        self.waiting += 1  # first: one whose connection was left in the middle of a message is of no more use
        try:
            head = memoryview(_HEAD.pack(len(message), len(descriptors)) + message)
            if descriptors:
                head = head[socket.send_fds(self._connection, [head], descriptors) :]
            self._send(head)
        except OSError as e:
            raise self._gone(e) from e

    def answer(self) -> Any:
        """The result of the oldest call that waits, once it is there. Raises Failed."""
        try:
            message = self._answers.popleft() if self._answers else _received(self._connection)[0]
        except OSError as e:
            raise self._gone(e) from e
        self.waiting -= 1
        good, result = marshal.loads(message)  # noqa: S302 -- of our own fork
        if not good:
            raise Failed(result)
        return result

    def _send(self, rest: memoryview) -> None:
        """Both ends would wait for ever if each sent more than a socket holds."""
        both = select.poll()
        both.register(self, select.POLLIN | select.POLLOUT)
        while rest:
            events = both.poll()[0][1]
            if events & ~select.POLLOUT:
                self._answers.append(_received(self._connection)[0])
            if events & select.POLLOUT:
                rest = rest[self._connection.send(rest, socket.MSG_DONTWAIT) :]

    def _gone(self, error: OSError) -> Failed:
        return Failed(f"the worker {self._pid} is gone: {error}")

    def fileno(self) -> int:
        """For poll(2)."""
        return self._connection.fileno()

    def is_done(self) -> bool:
        """Whether `answer` would not wait."""
        return bool(self._answers) or bool(ready([self], 0))

    def end(self) -> None:
        """At once, whatever it does."""
        self._connection.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # somebody else may have ended and buried it
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def ready(some: Iterable[Worker], milliseconds: int | None = None) -> list[int]:
    """Descriptors of those whose answer is there, or which are gone; waits for one, no longer than that."""
    waiting = select.poll()
    for worker in some:
        waiting.register(worker, select.POLLIN)
    return [descriptor for descriptor, _ in waiting.poll(milliseconds)]


@contextlib.contextmanager
def started(count: int | None = None) -> Iterator[None]:
    """So many workers for `borrowed` (default: a core keeps one for this process). Call it before there are threads."""
    wanted = min(len(os.sched_getaffinity(0)) - 1, MOST) if count is None else count
    for _ in range(wanted):
        _idle.append(_forked())
    try:
        yield
    finally:
        while _idle:
            _idle.pop().end()


@contextlib.contextmanager
def borrowed(most: int = MOST) -> Iterator[list[Worker]]:
    """Workers that nobody else has at the moment; there may be none. One that has not answered by the end is ended."""
    with _lock:
        found = [_idle.popleft() for _ in range(min(most, len(_idle)))]
    try:
        yield found
    finally:
        for worker in found:
            if worker.waiting:
                worker.end()
            else:
                _idle.append(worker)


def _forked() -> Worker:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            for other in _idle:  # else they would not see that the program has ended
                other._connection.close()  # noqa: SLF001
            _serve(theirs)
        finally:
            os._exit(1)
    theirs.close()
    return Worker(pid, ours)


def _serve(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it goes to all; the program decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            message, descriptors = _received(connection)
        except OSError:
            os._exit(0)
        answer = _called(message, descriptors)
        connection.sendall(_HEAD.pack(len(answer), 0) + answer)


def _called(message: bytes, descriptors: list[int]) -> bytes:
    """Whether it went well, and the result or what went wrong."""
    import importlib

    try:
        module, name, arguments = marshal.loads(message)  # noqa: S302 -- of the process that forked this one
        function = getattr(importlib.import_module(module), name)
        return marshal.dumps((True, function(*arguments, descriptors) if descriptors else function(*arguments)))
    except Exception as e:  # noqa: BLE001  told to who asked
        return marshal.dumps((False, f"{type(e).__name__}: {e}"))
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # the function may have closed it
                os.close(descriptor)


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A message whole, with its descriptors. Raises OSError where the other end is closed."""
    head, descriptors, _, _ = socket.recv_fds(connection, _HEAD.size, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    head += _exactly(connection, _HEAD.size - len(head))
    return _exactly(connection, _HEAD.unpack(head)[0]), descriptors


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            raise ConnectionError("the connection is closed")
        at += count
    return bytes(data)
