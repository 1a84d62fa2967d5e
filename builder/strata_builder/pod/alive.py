"""Who of a pod's containers is still there: a lock that lives and dies with its process.

A POSIX write lock (fcntl(2)) can be taken only through a descriptor that may write, so of the containers that mount the
folder read-only none can take it in another's place; and the kernel drops it however the process ends.
"""

from __future__ import annotations

import enum
import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strata_builder import errors

PATIENCE: Final = 120.0  # seconds in which a container of the same pod must have started
_FLOCK: Final = "hhqqi"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class PeerLost(errors.BuildError):
    """Another container ended, or never came; what became of the build is its to say."""

    reason = "InfrastructureFailed"
    retryable = True


class State(enum.Enum):
    ABSENT = "absent"
    RUNNING = "running"
    ENDED = "ended"


class Holder:
    """Holds this process's lock. Nobody else in the process may open the file: closing it would drop the lock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / "started").touch()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Peer:
    """Another container, seen from here. `done` is the marker that it leaves before it ends well."""

    def __init__(
        self, role: str, folder: Path, done: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.role = role
        self._folder = folder
        self._done = done
        self._clock = clock
        self._since = clock()

    def state(self) -> State:
        if not (self._folder / "started").exists():
            return State.ABSENT
        descriptor = os.open(self._folder / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        finally:
            os.close(descriptor)
        return State.ENDED if answer[0] == fcntl.F_UNLCK else State.RUNNING

    def check(self) -> None:
        """Raises PeerLost if it ended without its marker, or has not come within PATIENCE."""
        state = self.state()
        if state is State.RUNNING or (self._done is not None and self._done.exists()):
            return
        if state is State.ENDED:
            raise PeerLost(f"the container {self.role} ended before its work was done; its own message says why")
        if self._clock() - self._since > PATIENCE:
            raise PeerLost(f"the container {self.role} did not start within {PATIENCE:.0f} s")
