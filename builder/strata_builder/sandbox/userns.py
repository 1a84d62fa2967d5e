"""A step in namespaces of its own, over an overlay of its layers.

The builder needs CAP_SYS_ADMIN in its user namespace: that of a pod with `hostUsers: false`, one made on a host by
`sandbox.host`, or the machine's own (root on a host, where devices are barred by the mounts).
"""

from __future__ import annotations

import os
import selectors
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from strata_builder import errors
from strata_builder.frozen import frozen
from strata_builder.sandbox import command, memory
from strata_builder.sandbox.launcher import Launcher
from strata_builder.sandbox.request import Pipes, Request, reports

_PIECE: Final = 65536
_TICK: Final = 0.25
#: How much of what is in the pipe already is still read after the end, in pieces.
_LAST_PIECES: Final = 1024


@frozen
class Ran:
    """How a step ended, and the mount points (paths in the root, parents first) that had to be made for it."""

    outcome: command.Outcome
    made: tuple[bytes, ...]


def run(
    launcher: Launcher,
    request: Request,
    *,
    output: Callable[[bytes], None],
    deadline: float | None = None,
    cancel: threading.Event | None = None,
) -> Ran:
    """Runs what `request` says, its root mounted in the step's mount namespace alone.

    `output` gets stdout and stderr as they come, in this thread. At `deadline` (time.monotonic), or once `cancel` is
    set, the step and all that it started are killed; they are in any case when its first process ends.

    Raises DockerfileInvalid for a mount or a working directory that the image does not allow, InfrastructureFailed
    where the kernel refuses a namespace or a mount.
    """
    cancel = cancel or threading.Event()
    with launcher.place(deadline, cancel):
        kills = memory.kills()
        with _Step(launcher, request) as step:
            step.pump(output, deadline, cancel)
        status = step.status()
        killed = kills is not None and (memory.kills() or 0) > kills
    return Ran(command.outcome(status, killed=killed), tuple(step.heard.get("made", ())))


class _Step:
    """The builder's ends of its pipes, and what was reported."""

    def __init__(self, launcher: Launcher, request: Request) -> None:
        self.launcher = launcher
        self.request = request
        self.heard: dict[str, Any] = {}
        self._reports = b""

    def __enter__(self) -> Self:
        control, self._control = os.pipe2(os.O_CLOEXEC)
        self._output, output = os.pipe2(os.O_CLOEXEC)
        self._report, report = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        try:
            self._launch(Pipes(control, output, report))
            self._ask()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Also where `output` raised: the step is killed, and over when this ends."""
        self._stop()
        while self._read_report():
            pass
        os.close(self._output)
        os.close(self._report)

    def _launch(self, theirs: Pipes) -> None:
        try:
            self.launcher.launch(theirs)
        finally:
            for fd in theirs:
                os.close(fd)

    def _ask(self) -> None:
        message = self.request.encode()
        with (
            suppress(BrokenPipeError),
            open(os.dup(self._control), "wb") as control,
        ):  # its report says why, or its silence
            control.write(struct.pack("!Q", len(message)) + message)

    def _stop(self) -> None:
        if self._control >= 0:
            os.close(self._control)
            self._control = -1

    def pump(self, output: Callable[[bytes], None], deadline: float | None, cancel: threading.Event) -> None:
        """Passes output on until the step's end has been told; never waits for the end of the output."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._report, selectors.EVENT_READ)
            while True:
                left = _TICK if deadline is None else deadline - time.monotonic()
                if cancel.is_set() or left <= 0:
                    self._stop()
                ready = {key.fd for key, _ in selector.select(min(_TICK, left) if left > 0 else _TICK)}
                if self._output in ready and not self._read_output(output):
                    selector.unregister(self._output)
                if self._report in ready and not self._read_report():
                    break
        for _ in range(_LAST_PIECES):
            if not self._read_output(output):
                break

    def _read_output(self, output: Callable[[bytes], None]) -> bool:
        """False at the end, and where nothing waits."""
        try:
            piece = os.read(self._output, _PIECE)
        except BlockingIOError:
            return False
        if piece:
            output(piece)
        return bool(piece)

    def _read_report(self) -> bool:
        """False at the end: the step is no more."""
        piece = os.read(self._report, _PIECE)
        heard, self._reports = reports(self._reports + piece)
        for each in heard:
            self.heard.update(each)
        return bool(piece)

    def status(self) -> int:
        """The step's exit status, minus n for signal n. Raises BuildError if it did not come to run."""
        if failed := self.heard.get("failed"):
            raise getattr(errors, failed["class"])(failed["message"], hint=failed["hint"])
        if "status" not in self.heard:
            raise self.launcher.failure()
        return int(self.heard["status"])
