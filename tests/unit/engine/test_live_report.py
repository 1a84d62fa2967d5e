"""What a terminal shows of a build, read from a screen that does what the control sequences say."""

from __future__ import annotations

import io
import itertools
import re
import time

import pytest

from strata_builder.engine import live

COLUMNS = 40


class Screen(io.StringIO):
    """A terminal that knows what Live uses: lines, up, and erase to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[str] = [""]
        self.at = 0

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[\d*[A-Z]|\n|\r|[^\x1b\n\r]+", text):
            if up := re.fullmatch(r"\x1b\[(\d+)A", part):
                self.at -= int(up[1])
                assert self.at >= 0, "above what was written"
            elif part == "\x1b[J":
                self.rows[self.at :] = [""]
            elif part == "\n":
                self.at += 1
                self.rows[self.at : self.at + 1] = [""]
            elif part != "\r":
                assert "\x1b" not in part
                self.rows[self.at] += part
        return len(text)

    @property
    def shown(self) -> list[str]:
        return self.rows[:-1]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    return Screen()


def test_what_runs_stands_below_what_is_done(screen: Screen) -> None:
    now = [10.0]
    told = live.Live(screen, clock=lambda: now[0], tick=None)
    told.started("[1/2]", "RUN make")
    told.started("[a 1/1]", "COPY . .")
    assert screen.shown == ["[1/2] RUN make  0.0 s", "[a 1/1] COPY . .  0.0 s"]
    now[0] = 12.5
    told.output("[1/2]", b"cc main.c\ncc ma")
    assert screen.shown == ["[1/2]   2.50 cc main.c", "[1/2] RUN make  2.5 s", "[a 1/1] COPY . .  2.5 s"]
    told.ended("[1/2]", cached=False, seconds=2.5, size=1200)
    told.ended("[a 1/1]", cached=True, seconds=0, size=0)
    told.note("built sha256:1")
    done = ["[1/2]   2.50 cc main.c", "[1/2]   2.50 cc ma", "[1/2] RUN make  2.5 s, 1 kB", "[a 1/1] COPY . .  CACHED"]
    assert screen.shown == [*done, "built sha256:1"]


@pytest.mark.parametrize("text", ["x" * 500, "字" * 100, "a\x1b[2J" * 60])
def test_a_long_step_takes_one_row(screen: Screen, text: str) -> None:
    told = live.Live(screen, clock=lambda: 0.0, tick=None)
    told.started("[1/1]", f"RUN {text}")
    (row,) = screen.shown
    assert row.endswith("…  0.0 s")
    assert sum(2 if char == "字" else 1 for char in row) < COLUMNS


def test_of_many_steps_the_first_are_shown_and_the_others_counted(screen: Screen) -> None:
    told = live.Live(screen, clock=lambda: 0.0, tick=None)
    for number in range(20):
        told.started(f"[{number}]", "RUN sleep 1")
    assert len(screen.shown) == 12
    assert screen.shown[-1] == "… and 9 more"
    for number in range(20):
        told.ended(f"[{number}]", cached=False, seconds=1, size=0)
    assert screen.shown == [f"[{number}] RUN sleep 1  1.0 s" for number in range(20)]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]0;title\x1b\\text", "text"),
        (b"up\x1b[100Aand\x1b[2Jaway", "upandaway"),
        (b"bell\x07 back\x08space", "bell� back�space"),
        (b"cut \x1b", "cut �"),
        (b"\xff\r", "�"),
    ],
)
def test_what_a_step_prints_does_not_move_the_cursor(screen: Screen, data: bytes, shown: str) -> None:
    told = live.Live(screen, clock=lambda: 0.0, tick=None)
    told.started("[1/1]", "RUN x")
    told.output("[1/1]", data + b"\n")
    assert screen.shown == [f"[1/1]   0.00 {shown}", "[1/1] RUN x  0.0 s"]


def test_seconds_go_on_while_nothing_else_happens(screen: Screen) -> None:
    now = itertools.count()
    with live.Live(screen, clock=lambda: next(now), tick=0.001) as told:
        told.started("[1/1]", "RUN sleep")
        deadline = time.monotonic() + 20
        while "5.0 s" not in screen.shown[0]:
            assert time.monotonic() < deadline
        told.ended("[1/1]", cached=False, seconds=9, size=0)
    assert screen.shown == ["[1/1] RUN sleep  9.0 s"]


def test_what_comes_after_the_end_is_not_drawn_over(screen: Screen) -> None:
    with live.Live(screen, clock=lambda: 0.0, tick=0.001) as told:
        told.started("[1/1]", "RUN false")
    screen.write("error: Dockerfile:2: RUN false: exit code 1\n")
    told.started("[2/2]", "RUN late")
    told.output("[1/1]", b"late\n")
    assert screen.shown == ["error: Dockerfile:2: RUN false: exit code 1", "[1/1]   0.00 late"]
