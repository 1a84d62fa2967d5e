"""Who may use the release on the cluster: many tests beside each other, or one that disturbs it, alone.

The turns are those of all processes that test the same cluster. The kernel ends one with the process that has it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turn:
    """This process's turn; there is none at first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: int | None = None

    def take(self, *, alone: bool) -> None:
        """Waits until nobody disturbs the release, or until nobody uses it. Does nothing if this process has its turn."""
        if self._held is None:
            self._held = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)

    def end(self) -> None:
        """Lets the others have theirs."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
