"""What a container prints: to its own output, which the kubelet keeps while there is a pod, and to a bounded file.

Both hold the same lines, with every secret of the build masked. What a step prints of its own secrets the engine has
masked before; here those of other steps go, too, for a kept log has more readers than a pod's.
"""

from __future__ import annotations

import collections
import io
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TextIO

from strata_builder.buildlog import segments, text

SHORTEST_MASKED: Final = 6  # characters, as for the output of steps
_LONGEST: Final = 64 << 10  # characters that are held back for a line's end
_TAIL: Final = 40  # lines


Hide = Callable[[Iterable[bytes]], None]


def hide_nothing(secrets: Iterable[bytes]) -> None:
    """Where nothing is printed."""


def now() -> str:
    """The time in UTC as RFC 3339, to the microsecond. `datetime` would be one more module to load at each start."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


class Log:
    """Safe to share between threads."""

    def __init__(self, folder: Path | None = None, limits: segments.Limits = segments.HELPER) -> None:
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()
        self._lines: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self._writer = self._opened(folder, limits) if folder else None

    def hide(self, secrets: Iterable[bytes]) -> None:
        """From now on no line shows a line of `secrets`."""
        lines = {line.strip() for secret in secrets for line in secret.decode("utf-8", "replace").splitlines()}
        long = {line for line in lines if len(line) >= SHORTEST_MASKED}
        with self._lock:
            self._secrets = tuple(sorted({*self._secrets, *long}, key=len, reverse=True))

    def masked(self, shown: str) -> str:
        for secret in self._secrets:
            shown = shown.replace(secret, "***")
        return shown

    def safe(self, shown: str) -> str:
        """A line, masked. Whoever shows it takes control sequences out: what that would put together is masked as well."""
        shown = self.masked(shown)
        if not self._secrets or shown.isprintable():
            return shown
        bare = text.plain(shown)
        return shown if (safe := self.masked(bare)) == bare else safe

    def tail(self) -> str:
        """The last lines, as they may stand in a termination message."""
        with self._lock:
            return text.last(list(self._lines))

    def line(self, shown: str, to: TextIO) -> None:
        """One line without its end."""
        with self._lock:
            shown = self.safe(shown)
            to.write(f"{shown}\n")
            to.flush()
            self._lines.append(shown)
            self._keep(shown)

    def close(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _opened(self, folder: Path, limits: segments.Limits) -> segments.Writer | None:
        try:
            return segments.Writer(folder, limits)
        except OSError as e:
            self._not_kept(e)
            return None

    def _not_kept(self, why: OSError) -> None:
        """A disk that is full ends no build that needs no more of it."""
        self._lines.append(f"from here on the log is not kept: {why.strerror}")

    def _keep(self, shown: str) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(f"{now()} {shown}\n".encode("utf-8", "replace"))
        except OSError as e:
            self._writer.close()
            self._writer = None
            self._not_kept(e)


class Stream(io.TextIOBase):
    """In the place of standard output or error: takes text as it comes, gives lines to the log."""

    def __init__(self, log: Log, to: TextIO) -> None:
        super().__init__()
        self._log, self._to, self._rest = log, to, ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, given: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + given).split("\n")
            if len(self._rest) > _LONGEST:
                lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            self._log.line(line, self._to)
        return len(given)

    def finish(self) -> None:
        """What has no end of a line yet."""
        with self._lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._log.line(rest, self._to)
