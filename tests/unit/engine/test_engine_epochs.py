"""SOURCE_DATE_EPOCH as a number and as a word, from the command line and from the Dockerfile."""

from __future__ import annotations

import dataclasses

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import contexts, epochs, history, planner
from strata_builder.engine.options import Options
from strata_builder.oci.platform import Platform
from support import engine_build

AMD64 = Platform.parse("linux/amd64")
OPTIONS = Options(context=memory.MemoryTree({}), platform=AMD64, build_platform=AMD64)
FETCHED = {"http://h/a.tar": 300, "http://h/silent": None, "https://h/r.git#v1": 400}
NAMED = {
    "fetched": contexts.TreeContext(memory.MemoryTree({}), 200),
    "folder": contexts.TreeContext(memory.MemoryTree({})),
    "image": contexts.ImageContext("x"),
}


def settled(text: str, given: str | None = None, **fields: object) -> Options:
    file = df.parse(text.encode())
    args = {} if given is None else {epochs.ARGUMENT: given}
    asked = dataclasses.replace(OPTIONS, build_args=args, contexts=NAMED, **fields)  # type: ignore[arg-type]
    return epochs.settled(file, asked, planner.outer(file, asked), lambda url, _, __: FETCHED[url])


@pytest.mark.parametrize(
    ("written", "given", "context", "expected"),
    [
        (None, None, 100, None),
        (None, "7", 100, 7),
        ("8", None, 100, 8),
        ("8", "7", 100, 7),
        ("8", "", 100, None),
        ("${N:-9}", None, 100, 9),
        (None, "context", 100, 100),
        (None, "context", None, None),
        ("context", None, 100, 100),
        ("context", None, None, None),
        ("fetched", None, 100, 200),
        ("Fetched", None, 100, 200),
        ("folder", None, 100, None),
        ("image", None, 100, None),
    ],
)
def test_a_word_says_whose_time_it_is(
    written: str | None, given: str | None, context: int | None, expected: int | None
) -> None:
    text = "FROM scratch\n" if written is None else f"ARG SOURCE_DATE_EPOCH={written}\nFROM scratch\n"
    found = settled(text, given, context_time=context)
    assert found.source_date_epoch == expected
    assert found.build_args.get(epochs.ARGUMENT) == (None if expected is None else str(expected))


@pytest.mark.parametrize(("told", "expected"), [(10**18, epochs.MAX), (epochs.MAX + 1, epochs.MAX), (-5, 0), (0, 0)])
@pytest.mark.parametrize("word", ["context", "archive", "stage"])
def test_a_time_that_no_image_can_have_counts_as_the_next_one(word: str, told: int, expected: int) -> None:
    """Whoever wrote the archive or the commit may have said anything."""
    text = b"FROM scratch AS stage\nADD http://h/a.tar /\nFROM scratch\n"
    args, named = {epochs.ARGUMENT: word}, {"archive": contexts.TreeContext(memory.MemoryTree({}), told)}
    asked = dataclasses.replace(OPTIONS, build_args=args, contexts=named, context_time=told)
    file = df.parse(text)
    found = epochs.settled(file, asked, planner.outer(file, asked), lambda *_: told)
    assert found.source_date_epoch == expected


def test_the_latest_epoch_is_the_last_second_that_images_can_tell() -> None:
    assert history.stamp(epochs.MAX) == "9999-12-31T23:59:59Z"  # RFC 3339 has years of four digits


def test_an_epoch_that_is_set_already_stands() -> None:
    assert settled("FROM scratch\n", "nonsense", source_date_epoch=5).build_args == {epochs.ARGUMENT: "5"}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("FROM scratch AS src\nADD http://h/a.tar /\n", 300),
        ("FROM scratch AS SRC\nARG U=http://h/a.tar\nADD ${U} /x/\n", 300),
        ("FROM scratch AS src\nADD http://h/silent /\n", None),
        ("FROM scratch AS src\nADD https://h/r.git#v1 /\n", 400),
    ],
)
def test_a_stage_of_one_add_gives_the_time_of_what_it_fetches(stage: str, expected: int | None) -> None:
    assert settled(f"ARG SOURCE_DATE_EPOCH=src\n{stage}FROM scratch\n").source_date_epoch == expected


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ("FROM scratch AS src\nCOPY x /\n", 3),
        ("FROM scratch AS src\n", 2),
        ("FROM testbase AS src\nADD http://h/a.tar /\n", 2),
        ("FROM scratch AS src\nADD http://h/a.tar /\nADD http://h/a.tar /b\n", 4),
        ("FROM scratch AS src\nADD http://h/a.tar http://h/b.tar /\n", 2),
        ("FROM scratch AS src\nADD local /\n", 2),
        ("FROM scratch AS src\nADD http://h/a.tar /\nRUN x\n", 4),
        ("FROM scratch AS src\nADD <<E /x\nE\n", 2),
    ],
)
def test_a_stage_that_is_more_is_refused_with_its_line(stage: str, line: int) -> None:
    with pytest.raises(errors.DockerfileError, match="FROM scratch and one ADD of one URL") as caught:
        settled(f"ARG SOURCE_DATE_EPOCH=src\n{stage}FROM scratch\n")
    assert caught.value.place is not None
    assert caught.value.place.line == line


@pytest.mark.parametrize("word", ["nosuch", "-1", "1.5", "9" * 13, "2000000000000", "\u0663"])
def test_what_means_no_time_is_refused(word: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=r"SOURCE_DATE_EPOCH=.* is (no time|more than)"):
        settled("FROM scratch\n", word)


@pytest.mark.parametrize(("context", "seen"), [(100, "[100]"), (None, "[]")])
def test_a_stage_sees_the_number_and_never_the_word(context: int | None, seen: str) -> None:
    text = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=[${SOURCE_DATE_EPOCH}]\n"
    options = settled(text, context_time=context)
    plan = planner.make(df.parse(text.encode()), options, engine_build.NoImages())
    assert f"E={seen}" in plan.stages[0].config.env
