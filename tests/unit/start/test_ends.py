"""How the command's process ends: at once, with all that it printed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench import builders


@pytest.fixture
def context(tmp_path: Path) -> Path:
    text = "FROM scratch\n" + "".join(f"COPY Dockerfile /{'long' * 40}-{number}\n" for number in range(1000))
    (tmp_path / "Dockerfile").write_text(text)
    return tmp_path


def strata(context: Path, *words: str, **streams: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **builders.environment(context)}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run([*builders.command(), *words, str(context)], env=environment, text=True, check=False, **given)


def test_all_that_was_printed_arrives(context: Path):
    ended = strata(context, "plan")
    assert ended.returncode == 0
    assert ended.stdout.count("COPY Dockerfile") == 1000
    assert ended.stdout.endswith("\n")


def test_the_exit_code_is_that_of_what_went_wrong(context: Path):
    (context / "Dockerfile").write_text("FROM\n")
    ended = strata(context, "check")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: Dockerfile:1: ")


@pytest.mark.parametrize("command", ["plan", "check"])
def test_output_that_cannot_be_written_is_an_error(context: Path, command: str):
    with open("/dev/full", "w") as full:
        ended = strata(context, command, stdout=full.fileno())
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "fault" not in ended.stderr


@pytest.mark.parametrize("command", ["plan", "check"])
def test_a_reader_that_has_had_enough_is_no_fault(context: Path, command: str):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = strata(context, command, stdout=writer)
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert "fault" not in ended.stderr
