"""A step in the container's own root, with the container as its only wall.

The builder is PID 1 and not dumpable: a step, though root, can neither read its memory nor stop it, and whatever the
step left running is found and ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from strata_builder import errors
from strata_builder.sandbox import command, memory

_TICK: Final = 0.1
_PIECE: Final = 65536
_LAST_PIECES: Final = 1024


def run(
    wanted: command.Command,
    *,
    output: Callable[[bytes], None],
    timeout: float | None = None,
    cancel: threading.Event | None = None,
) -> command.Outcome:
    """Runs `wanted`, whose mounts are in place; its working directory has to be there. See `userns.run` for `output`,
    `timeout` and `cancel`.

    As PID 1 this ends every other process of the container when the step's first process has ended; otherwise only
    those of its process group.

    Raises NotSupported for network "none" and for another host name: both are the container's.
    """
    _refuse_what_is_the_containers(wanted)
    kills = memory.kills()
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            process = _started(wanted, write)
        except OSError as error:
            return _not_started(wanted, error, output)
        finally:
            os.close(write)
        os.set_blocking(read, False)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            _pump(process, read, output, deadline, cancel or threading.Event())
        finally:
            status = _end(process)
        _drain(read, output)
    finally:
        os.close(read)
    return command.outcome(status, killed=kills is not None and (memory.kills() or 0) > kills)


def _refuse_what_is_the_containers(wanted: command.Command) -> None:
    if wanted.network == "none":
        raise errors.NotSupported(
            "--network=none is not possible in isolation InPlace: the step shares the container's network",
            hint="remove --network=none, or use the isolation UserNS",
        )
    if wanted.hostname != command.HOSTNAME:
        raise errors.NotSupported(
            f"the host name {wanted.hostname} is not possible in isolation InPlace: the step has the container's",
            hint="remove the argument BUILDKIT_SANDBOX_HOSTNAME, or use the isolation UserNS",
        )


def _started(wanted: command.Command, output: int) -> subprocess.Popen[bytes]:
    with open(os.memfd_create("stdin"), "w+b") if wanted.stdin else open("/dev/null", "rb") as given:
        if wanted.stdin:
            given.write(wanted.stdin)
            given.seek(0)
        return subprocess.Popen(
            wanted.argv,
            env=dict(wanted.env),
            cwd=os.fsdecode(wanted.cwd),
            stdin=given,
            stdout=output,
            stderr=output,
            user=wanted.uid,
            group=wanted.gid,
            extra_groups=wanted.groups,
            umask=0o022,
            start_new_session=True,
        )


def _not_started(wanted: command.Command, error: OSError, output: Callable[[bytes], None]) -> command.Outcome:
    output(f"exec {wanted.argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
    return command.Outcome(127 if isinstance(error, FileNotFoundError | NotADirectoryError) else 126)


def _pump(
    process: subprocess.Popen[bytes],
    read: int,
    output: Callable[[bytes], None],
    deadline: float | None,
    cancel: threading.Event,
) -> None:
    """Passes output on until the process has ended, or has to."""
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while not cancel.is_set() and (deadline is None or time.monotonic() < deadline):
                ready = {key.fd for key, _ in selector.select(_TICK)}
                if ended in ready:
                    return
                if read in ready and not _read(read, output):
                    selector.unregister(read)
    finally:
        os.close(ended)


def _end(process: subprocess.Popen[bytes]) -> int:
    """The exit status of `process` (minus n for signal n); if it still runs it is killed, with all that it started."""
    with suppress(ProcessLookupError):
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            process.kill()
        # The group's number is not free as long as its leader has not been waited for.
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    if os.getpid() == 1:
        _end_the_rest()
    return status


def _end_the_rest() -> None:
    """kill(2): as PID 1, -1 is everybody else in the container. Orphans are this process's to wait for."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _read(read: int, output: Callable[[bytes], None]) -> bool:
    try:
        piece = os.read(read, _PIECE)
    except BlockingIOError:
        return False
    if piece:
        output(piece)
    return bool(piece)


def _drain(read: int, output: Callable[[bytes], None]) -> None:
    """What is in the pipe already, not what may still come."""
    for _ in range(_LAST_PIECES):
        if not _read(read, output):
            return
