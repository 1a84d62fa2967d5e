"""What is said about a wrong Dockerfile, to the letter: tests/golden/wrong-dockerfiles.txt."""

from __future__ import annotations

import os
import pathlib

import pytest

from support import dockerfile_plans

TABLE = pathlib.Path(__file__).parents[2] / "golden" / "wrong-dockerfiles.txt"
HEAD, *SECTIONS = TABLE.read_text(encoding="utf-8").split("\n=== ")
ROWS = dict(section.split("\n", maxsplit=1) for section in SECTIONS)


def _said(source: str) -> str:
    raw = source.replace("␍", "\r").replace("␀", "\0").replace("␠", " ")
    error = dockerfile_plans.error(raw.encode())
    assert error is not None, "nothing is wrong with it"
    return str(error).replace(" \n", "␠\n")


def _rows() -> list[tuple[str, str, str]]:
    found = []
    for name, body in ROWS.items():
        source, _, said = body.partition("--- said")
        found.append((name, source, said.strip("\n")))
    return found


@pytest.mark.parametrize(("source", "said"), [row[1:] for row in _rows()], ids=[row[0] for row in _rows()])
def test_a_wrong_dockerfile_is_told_of_as_its_row_says(source: str, said: str) -> None:
    assert _said(source) == said


def test_the_table_is_long() -> None:
    assert len(ROWS) > 80


if os.environ.get("UPDATE_GOLDEN"):
    TABLE.write_text(
        HEAD + "\n" + "".join(f"=== {name}\n{source}--- said\n{_said(source)}\n" for name, source, _ in _rows()),
        encoding="utf-8",
    )
