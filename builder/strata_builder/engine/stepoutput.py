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
        self._rest = b""
        self._lines: collections.deque[bytes] = collections.deque(maxlen=TAIL_LINES)

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._rest) > _LONGEST:
            self.finish()

    def finish(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._line(rest)

    def tail(self) -> str:
        return b"".join(self._lines).decode("utf-8", "replace").rstrip()

    def _line(self, line: bytes) -> None:
        for secret in self._secrets:
            line = line.replace(secret, b"***")
        self._lines.append(line[-2048:])
        self._sink(line)
