"""`strata build` on a terminal: a real one (a pty), so that what `auto` takes it for is tested, too."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

BUILDER = Path(__file__).parents[3] / "builder"


def run(folder: Path, *flags: str, term: str = "xterm") -> str:
    """What the terminal of a build of `folder` got."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(BUILDER), "TERM": term, "STRATA_CACHE_DIR": str(folder / "../cache")}
    argv = [sys.executable, "-m", "strata_builder.cli", "build", *flags, str(folder)]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        got = bytearray()
        with contextlib.suppress(OSError):  # EIO, once nobody has the other end any more
            while piece := os.read(ours, 65536):
                got += piece
    os.close(ours)
    return got.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (made / "file").write_text("x")
    (made / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    return made


@pytest.mark.parametrize("flags", [(), ("--progress", "auto"), ("--progress", "tty")])
def test_a_terminal_is_drawn_on(folder: Path, flags: tuple[str, ...]) -> None:
    said = run(folder, *flags)
    assert "\x1b[1A\r\x1b[J" in said
    assert "built sha256:" in said


@pytest.mark.parametrize(("flags", "term"), [(("--progress", "plain"), "xterm"), ((), "dumb"), (("-q",), "xterm")])
def test_where_it_is_not_wanted_or_the_terminal_cannot_nothing_is_drawn(
    folder: Path, flags: tuple[str, ...], term: str
) -> None:
    said = run(folder, *flags, term=term)
    assert "\x1b" not in said
    assert "sha256:" in said


def test_an_error_stands_below_what_was_done(folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /\nCOPY nothing /\n")
    said = run(folder)
    assert "error: Dockerfile:3:" in said.rpartition("\x1b[J")[2]
