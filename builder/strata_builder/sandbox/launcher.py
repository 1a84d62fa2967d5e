"""The builder's side of `server`: starts it once a build, and asks it for steps."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from strata_builder import errors
from strata_builder.sandbox import interpreter
from strata_builder.sandbox.request import Pipes

#: Steps that run at once; a further one waits. Many more than processors: most steps wait for the network, and some for
#: one another's end. Each costs a process and nine descriptors.
MAX_STEPS: Final = 32
_TICK: Final = 0.1
_LAST_WORD: Final = 5.0  # seconds for a process to end that has closed everything


class Launcher:
    """Safe for threads. `close` ends whatever still runs. `places` is how many steps run at once."""

    def __init__(self, places: int = MAX_STEPS) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Begins to start the server, if that has not been done; to be called as soon as a step is sure to come."""
        with self._lock:
            self._started()

    def launch(self, pipes: Pipes) -> None:
        """Asks for a step. Raises InfrastructureFailed if the server has ended."""
        with self._lock:
            asked = self._started()
        try:
            socket.send_fds(asked, [b"s"], pipes)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self.failure() from error

    def failure(self) -> errors.InfrastructureFailed:
        """What to raise where a step came to no end."""
        process = self._process
        assert process is not None
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORD)
        code = process.returncode
        if code is None:
            return errors.InfrastructureFailed("the step's process was not made, and nothing says why")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return errors.InfrastructureFailed(f"the process that starts steps has ended with {how}, and all steps with it")

    @contextmanager
    def place(self, deadline: float | None, cancel: threading.Event) -> Iterator[None]:
        """One of the places for steps, waiting for it. Raises DeadlineExceeded at `deadline` (time.monotonic), Cancelled."""
        while not self._places.acquire(timeout=_TICK):
            if cancel.is_set():
                raise errors.Cancelled("the build was cancelled while a step waited for others")
            if deadline is not None and time.monotonic() >= deadline:
                raise errors.DeadlineExceeded("the build's time was up while a step waited for others")
        try:
            yield
        finally:
            self._places.release()

    def close(self) -> None:
        with self._lock:
            if self._process is not None and self._socket is not None:
                self._socket.close()
                self._process.wait()

    def _started(self) -> socket.socket:
        if self._socket is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    interpreter.command("strata_builder.sandbox.server", str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=interpreter.environment(),
                    start_new_session=True,
                    cwd="/",
                )
            self._socket = ours
        return self._socket
