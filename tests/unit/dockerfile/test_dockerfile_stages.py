"""Which stage a name or a number means."""

from __future__ import annotations

import pytest

from strata_builder import dockerfile, errors

FILE = dockerfile.parse(
    b"FROM testbase AS unused\nFROM scratch AS One\nFROM scratch\nCOPY --from=one /f /a\n"
    b"FROM scratch AS one\nFROM one AS v1.2-x_y\nCOPY --from=later / /\nFROM x AS later\n"
)


@pytest.mark.parametrize(
    ("asked", "before", "index"),
    [
        ("unused", None, 0),
        ("ONE", None, 3),
        ("one", 3, 1),
        ("One", 4, 3),
        ("0", 3, 0),
        (1, 2, 1),
        ("5", None, 5),
        ("V1.2-X_Y", None, 4),
        ("debian:12", None, None),
        ("01x", None, None),
    ],
)
def test_a_name_or_a_number_finds_its_stage(asked: str | int, before: int | None, index: int | None) -> None:
    stage = dockerfile.find_stage(FILE, asked, before=before)
    assert (stage.index if stage else None) == index


@pytest.mark.parametrize(
    ("asked", "before", "message"),
    [
        ("6", None, "there is no stage 6"),
        ("9" * 5000, None, "there is no stage"),
        ("5", 3, "defined further down"),
        ("later", 4, "needs to be defined before"),
        ("v1.2-x_y", 4, "cannot take from itself"),
        ("2", 2, "cannot take from itself"),
    ],
)
def test_a_stage_that_cannot_be_meant_is_an_error(asked: str, before: int | None, message: str) -> None:
    with pytest.raises(errors.DockerfileError, match=message):
        dockerfile.find_stage(FILE, asked, before=before)


@pytest.mark.parametrize(
    ("asked", "before", "index"),
    [
        ("one", 3, 1),
        ("One", 4, 3),
        ("one", 1, None),
        ("later", 4, None),
        ("v1.2-x_y", 4, None),
        ("0", 3, None),
        ("99", 3, None),
    ],
)
def test_a_base_is_an_earlier_stage_or_else_an_image(asked: str, before: int, index: int | None) -> None:
    stage = dockerfile.find_base(FILE, asked, before)
    assert (stage.index if stage else None) == index


def test_an_error_about_a_stage_points_at_the_instruction_that_asks() -> None:
    copy = FILE.stages[4].instructions[0]
    with pytest.raises(errors.DockerfileError) as caught:
        dockerfile.find_stage(FILE, "later", before=4, asking=copy)
    assert str(caught.value).splitlines()[:3] == [
        "Dockerfile:7: stage later is defined further down (line 8) and needs to be defined before this use",
        "  7 | COPY --from=later / /",
        "    |             ^",
    ]


def test_a_place_has_file_lines_excerpt_and_caret() -> None:
    file = dockerfile.parse(b"FROM scratch\r\nCOPY a \\\r\n  missing \\\r\n  /\r\n", name="sub/Dockerfile")
    where = dockerfile.place(file, file.stages[0].instructions[0].span, "missing")
    assert where == errors.Place("sub/Dockerfile", 3, 4, "  missing \\\n  /", 3)


def test_the_caret_prefers_a_whole_word() -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        dockerfile.parse(b"FROM x\nENV BUILD=1 B C=2\n")
    assert caught.value.place is not None
    assert caught.value.place.column == 13


def test_stage_errors_in_a_from_that_expands_to_nothing() -> None:
    with pytest.raises(errors.DockerfileError, match="the image is empty"):
        dockerfile.resolve(dockerfile.parse(b"FROM $UNSET\n").stages[0].from_, {})
