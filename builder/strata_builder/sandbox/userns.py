"""A step in namespaces of its own, over an overlay of its layers.

The builder needs CAP_SYS_ADMIN in its user namespace: that of a pod with `hostUsers: false`, one made on a host by
`sandbox.host`, or the machine's own (root on a host, where devices are barred by the mounts).
"""

from __future__ import annotations

import json
import os
import selectors
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from strata_builder import errors
from strata_builder.rootfs.stack import Stack
from strata_builder.sandbox import command, interpreter, memory
from strata_builder.sandbox.request import Request

_PIECE: Final = 65536
_TICK: Final = 0.1
#: How long after its end output that is in the pipe already is still read, in pieces.
_LAST_PIECES: Final = 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a step ended, and the mount points (paths in the root, parents first) that had to be made for it."""

    outcome: command.Outcome
    made: tuple[bytes, ...]


def run(
    stack: Stack,
    root: Path,
    wanted: command.Command,
    *,
    output: Callable[[bytes], None],
    timeout: float | None = None,
    cancel: threading.Event | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Ran:
    """Runs `wanted` over `stack`, mounted at the empty directory `root` in the step's mount namespace alone.

    `output` gets stdout and stderr as they come, in this thread. After `timeout` seconds, or once `cancel` is set, the
    step and all that it started are killed; they are in any case when its first process ends. `files` are shown in its
    root (path -> content).

    Raises DockerfileInvalid for a mount or a working directory that the image does not allow, InfrastructureFailed
    where the kernel refuses a namespace or a mount.
    """
    kills = memory.kills()
    with _Helper(Request(stack, root, wanted, files or {})) as helper:
        helper.pump(output, None if timeout is None else time.monotonic() + timeout, cancel or threading.Event())
    status = helper.status()
    killed = kills is not None and (memory.kills() or 0) > kills
    return Ran(command.outcome(status, killed=killed), tuple(map(os.fsencode, helper.heard.get("made", ()))))


@dataclass
class _Helper:
    request: Request
    heard: dict[str, Any] = field(default_factory=dict)
    _reports: bytearray = field(default_factory=bytearray)

    def __enter__(self) -> Self:
        self._output, output = os.pipe2(os.O_CLOEXEC)
        self._report, report = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                interpreter.command("strata_builder.sandbox.child", str(report)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(report,),
                env=interpreter.environment(),
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            os.close(self._output)
            os.close(self._report)
            raise
        finally:
            os.close(output)
            os.close(report)
        os.set_blocking(self._output, False)
        self._ask(self._control(), self.request.encode())
        return self

    def __exit__(self, *_: object) -> None:
        """Also where `output` raised: ending the control pipe kills the step."""
        self._stop()
        self._process.wait()
        os.close(self._output)
        os.close(self._report)

    def _control(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @staticmethod
    def _ask(control: IO[bytes], message: bytes) -> None:
        try:
            control.write(struct.pack("!Q", len(message)) + message)
            control.flush()
        except BrokenPipeError:
            return  # it ended early; its report, or its silence, says why

    def _stop(self) -> None:
        try:
            self._control().close()
        except BrokenPipeError:
            return

    def pump(self, output: Callable[[bytes], None], deadline: float | None, cancel: threading.Event) -> None:
        """Passes output on until the helper has told the end; never waits for the end of the output."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._report, selectors.EVENT_READ)
            while True:
                if cancel.is_set() or (deadline is not None and time.monotonic() >= deadline):
                    self._stop()
                ready = {key.fd for key, _ in selector.select(_TICK)}
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
        piece = os.read(self._report, _PIECE)
        self._reports += piece
        *lines, rest = bytes(self._reports).split(b"\n")
        for line in lines:
            self.heard.update(json.loads(line))
        self._reports = bytearray(rest)
        return bool(piece)

    def status(self) -> int:
        """The step's exit status, minus n for signal n. Raises BuildError if it did not come to run."""
        if failed := self.heard.get("failed"):
            raise getattr(errors, failed["class"])(failed["message"], hint=failed["hint"])
        if "status" not in self.heard:
            code = self._process.returncode
            raise errors.InfrastructureFailed(f"the sandbox's helper process ended with {code} and no word")
        return int(self.heard["status"])
