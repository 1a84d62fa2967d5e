"""What a step writes: passed on line by line, without its secrets, and its end kept for the error."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Final

TAIL_LINES: Final = 20
_LONGEST: Final = 65536  # bytes of a line that has not ended


class StepOutput:
    """Each line goes to `sink`, with three asterisks in place of each of `secrets`."""

    def __init__(self, secrets: tuple[bytes, ...], sink: Callable[[bytes], None]) -> None:
        self._secrets, self._sink = secrets, sink
        self._held = max(map(len, secrets), default=1) - 1  # bytes that may be the beginning of one
        self._rest = b""
        self._lines: collections.deque[bytes] = collections.deque(maxlen=TAIL_LINES)

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._rest) > _LONGEST:
            self._cut()

    def finish(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._line(rest)

    def _cut(self) -> None:
        """Passes on what there is of a line, but not the beginning of what may become a secret."""
        rest = self._masked(self._rest)
        end = max(len(rest) - self._held, 0)
        self._rest = rest[end:]
        if end:
            self._show(rest[:end])

    def tail(self) -> str:
        return b"".join(self._lines).decode("utf-8", "replace").rstrip()

    def _line(self, line: bytes) -> None:
        self._show(self._masked(line))

    def _masked(self, line: bytes) -> bytes:
        for secret in self._secrets:
            line = line.replace(secret, b"***")
        return line

    def _show(self, line: bytes) -> None:
        self._lines.append(line[-2048:])
        self._sink(line)
