"""Telling a person how a build goes: plain lines, or JSON lines for programs. What it prints holds no secret."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO


class Reporter(Protocol):
    """Called from several threads."""

    def started(self, step: str, text: str) -> None: ...
    def output(self, step: str, data: bytes) -> None: ...
    def ended(self, step: str, *, cached: bool, seconds: float, size: int) -> None: ...
    def note(self, text: str) -> None: ...


class Quiet:
    """Says nothing."""

    def started(self, step: str, text: str) -> None: ...
    def output(self, step: str, data: bytes) -> None: ...
    def ended(self, step: str, *, cached: bool, seconds: float, size: int) -> None: ...
    def note(self, text: str) -> None: ...


class Plain:
    """One line an event; a RUN's output is prefixed by its step and the seconds since the step began."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}
        self._rest: dict[str, bytes] = {}

    def started(self, step: str, text: str) -> None:
        self._began[step] = self._clock()
        first, _, more = text.partition("\n")
        self._line(f"{step} {first}{' …' if more else ''}")

    def output(self, step: str, data: bytes) -> None:
        lines = (self._rest.pop(step, b"") + data).split(b"\n")
        self._rest[step] = lines.pop()[-65536:]
        for line in lines:
            self._say(step, line)

    def ended(self, step: str, *, cached: bool, seconds: float, size: int) -> None:
        if rest := self._rest.pop(step, b""):
            self._say(step, rest)
        self._line(f"{step} CACHED" if cached else f"{step} done in {seconds:.1f} s{size_text(size)}")

    def note(self, text: str) -> None:
        self._line(text)

    def _say(self, step: str, line: bytes) -> None:
        since = self._clock() - self._began.get(step, self._clock())
        self._line(f"{step} {since:6.2f} {line.decode('utf-8', 'replace').rstrip(chr(13))}")

    def _line(self, text: str) -> None:
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()


class Json:
    """One JSON object a line: {"event", "step", ...}."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def started(self, step: str, text: str) -> None:
        self._event("started", step=step, text=text)

    def output(self, step: str, data: bytes) -> None:
        self._event("output", step=step, data=data.decode("utf-8", "replace"))

    def ended(self, step: str, *, cached: bool, seconds: float, size: int) -> None:
        self._event("ended", step=step, cached=cached, seconds=round(seconds, 3), size=size)

    def note(self, text: str) -> None:
        self._event("note", text=text)

    def _event(self, event: str, **fields: object) -> None:
        with self._lock:
            self._stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
            self._stream.flush()


def size_text(size: int) -> str:
    """`, 1.2 MB`; nothing for 0."""
    if not size:
        return ""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f", {size:.3g} {unit}"
        size //= 1000
    return f", {size} GB"
