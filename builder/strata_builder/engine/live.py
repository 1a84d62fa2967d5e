"""How a build goes, on a terminal: what is done scrolls up, what runs stays below it with its seconds.

Control sequences are those of ECMA-48 that every terminal knows: up, and erase to the end. Those in a step's output are
left out, for what a Dockerfile prints must not draw over what we say.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import Final, Self, TextIO

from strata_builder.engine import report
from strata_builder.frozen import frozen

_TICK: Final = 0.25
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_SHOWN: Final = 12  # lines of what runs


@frozen
class _Running:
    text: str
    began: float


class Live:
    """As report.Plain, but a step is told when it ends; until then its line counts its seconds."""

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, tick: float | None = _TICK
    ) -> None:
        """`tick`: seconds between two drawings while steps run; None draws at events only."""
        self._stream = stream
        self._clock = clock
        self._tick = tick
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._rest: dict[str, bytes] = {}
        self._drawn = 0
        self._ticker: threading.Thread | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is said to run any more, whatever still does; what comes below stays where it is."""
        with self._lock:
            self._closed = True
            self._running.clear()
            self._draw()

    def started(self, step: str, text: str) -> None:
        first, _, more = text.partition("\n")
        with self._lock:
            if self._closed:
                return
            self._running[step] = _Running(f"{first} …" if more else first, self._clock())
            self._draw()
            self._keep_drawing()

    def output(self, step: str, data: bytes) -> None:
        lines = (self._rest.pop(step, b"") + data).split(b"\n")
        self._rest[step] = lines.pop()[-65536:]
        self._say(*(self._output_line(step, line) for line in lines))

    def ended(self, step: str, *, cached: bool, seconds: float, size: int) -> None:
        rest = self._rest.pop(step, b"")
        said = [self._output_line(step, rest)] if rest else []
        with self._lock:
            ran = self._running.pop(step, _Running("", 0.0))
        outcome = "CACHED" if cached else f"{seconds:.1f} s{report.size_text(size)}"
        self._say(*said, f"{step} {ran.text}  {outcome}")

    def note(self, text: str) -> None:
        self._say(*text.split("\n"))

    def _output_line(self, step: str, line: bytes) -> str:
        running = self._running.get(step)
        since = self._clock() - running.began if running else 0.0
        return f"{step} {since:6.2f} {line.decode('utf-8', 'replace').rstrip(chr(13))}"

    def _say(self, *lines: str) -> None:
        if lines:
            with self._lock:
                self._draw(*lines)

    def _draw(self, *lines: str) -> None:
        """The lines, and below them what runs; both where what ran was drawn before."""
        columns = shutil.get_terminal_size().columns
        running = [self._line(step, each, columns) for step, each in self._running.items()]
        if len(running) > _SHOWN:
            running[_SHOWN - 1 :] = [f"… and {len(running) - _SHOWN + 1} more"]
        erase = f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""
        self._stream.write(erase + "".join(f"{_shown(line)}\n" for line in [*lines, *running]))
        self._stream.flush()
        self._drawn = len(running)

    def _line(self, step: str, running: _Running, columns: int) -> str:
        """Short enough for one row, else the rows to go up would be miscounted."""
        seconds = f"  {self._clock() - running.began:.1f} s"
        return _clipped(_shown(f"{step} {running.text}"), max(columns - len(seconds) - 1, 10)) + seconds

    def _keep_drawing(self) -> None:
        if self._tick is not None and self._ticker is None:
            self._ticker = threading.Thread(target=self._work, args=(self._tick,), name="progress", daemon=True)
            self._ticker.start()

    def _work(self, tick: float) -> None:
        while True:
            time.sleep(tick)
            with self._lock:
                if not self._running:
                    self._ticker = None
                    return
                self._draw()


def _clipped(text: str, columns: int) -> str:
    """At most so many columns wide; a character of East Asia takes two (Unicode, annex 11)."""
    width = 0
    for at, char in enumerate(text):
        width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if width > columns:
            return f"{text[: at - 1]}…"
    return text


def _shown(line: str) -> str:
    line = _SEQUENCE.sub("", line)
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line)
