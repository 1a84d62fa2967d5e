"""The messages between operator and pod: they survive the trip, fit where they are put, and hostile ones are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from strata_builder import contract, termination

BUILD = contract.BuildId("team", "web", "0b7f", 3, 1, 2, "inputs")
REQUEST = contract.BuildRequest(
    BUILD,
    contract.Output("registry.example:5000", "team/web", insecure=True),
    source=contract.Source(
        git=contract.GitSource("https://git.example/web.git", "main", "c0ffee"), files=(("a", "b"),)
    ),
    args=(("NAME", "välue"),),
    mirrors=(contract.Mirror("docker.io", "https://mirror.example"),),
    source_date_epoch=0,
)
PLATFORM = contract.PlatformResult("linux/amd64", "sha256:" + "a" * 64, 7)
RESULT = contract.BuildResult(
    (PLATFORM,), steps=(contract.Step(3, "RUN make", cached=True, seconds=1.5),), started=1.25
)
BASES = (contract.BaseImage("debian:12", "sha256:" + "b" * 64), contract.BaseImage("gone", ""))
MANY = tuple(contract.BaseImage(f"{'n' * 50}{n:02}", "sha256:" + "b" * 64) for n in range(100))
FAILURE = contract.Failure(
    "RunFailed", "exit code 1\nlast line", file="Dockerfile", line=4, end_line=5, base_images=BASES
)


def test_a_request_survives_the_trip() -> None:
    assert contract.decode_request(contract.encode(REQUEST)) == REQUEST


@pytest.mark.parametrize("value", [RESULT, FAILURE], ids=["result", "failure"])
def test_an_answer_survives_the_trip(value: contract.BuildResult | contract.Failure) -> None:
    assert contract.decode_result(termination.message(value)) == value


def test_a_long_result_loses_steps_from_the_end_and_nothing_else() -> None:
    steps = tuple(contract.Step(n, f"RUN é{'x' * 300}", cached=False) for n in range(500))
    message = termination.message(dataclasses.replace(RESULT, steps=steps))
    assert len(message.encode()) <= termination.LIMIT
    read = contract.decode_result(message)
    assert isinstance(read, contract.BuildResult)
    assert read.platforms == RESULT.platforms
    assert [step.line for step in read.steps] == list(range(len(read.steps)))
    assert len(read.steps) > 5


@pytest.mark.parametrize(("size", "kept"), [(0, 13), (500, 10)])
def test_base_images_of_a_failure_make_room_for_its_message(size: int, kept: int) -> None:
    read = _told("x" * size)
    assert (read.message, len(read.base_images)) == ("x" * size, kept)
    assert read.base_images == MANY[:kept]


@pytest.mark.parametrize("size", [3900, 4000, 100_000])
def test_a_few_base_images_of_a_failure_are_told_however_much_its_step_has_printed(size: int) -> None:
    read = _told(f"head{'x' * size}tail", log=f"{'x' * 1000}\nend")
    assert read.base_images == MANY[:3]
    assert read.message.startswith("headx")
    assert read.message.endswith("xtail")
    assert len(read.message) > 350
    assert len(read.log) == 1004


def test_of_a_long_message_the_middle_goes_before_any_of_a_handful_of_base_images() -> None:
    said = dataclasses.replace(FAILURE, message="x" * 4000, base_images=MANY[:7])
    read = contract.decode_result(termination.message(said))
    assert isinstance(read, contract.Failure)
    assert read.base_images == said.base_images
    assert len(read.message) > 750


def test_a_failure_fits_also_where_all_of_it_has_to_be_escaped() -> None:
    read = _told('"' * 4000, log="\\" * 1024)
    assert read.message.endswith('"')
    assert read.log.endswith("\\")


def _told(message: str, log: str = "") -> contract.Failure:
    text = termination.message(contract.Failure("RunFailed", message, log=log, base_images=MANY))
    assert len(text.encode()) <= termination.LIMIT
    read = contract.decode_result(text)
    assert isinstance(read, contract.Failure)
    return read


def test_base_images_of_a_failure_are_at_most_as_many_as_a_status_holds() -> None:
    said = dataclasses.replace(FAILURE, base_images=tuple(contract.BaseImage(f"n{n}", "") for n in range(100)))
    read = contract.decode_result(termination.message(said))
    assert isinstance(read, contract.Failure)
    assert read.base_images == said.base_images[:32]


@pytest.mark.parametrize("char", ["x", "é", "\U0001f680", "\x00", '"', "\n"], ids=repr)
def test_a_long_failure_keeps_both_ends_of_its_message(char: str) -> None:
    message = termination.message(dataclasses.replace(FAILURE, message=f"head{char * 100_000}tail"))
    assert len(message.encode()) <= termination.LIMIT
    read = contract.decode_result(message)
    assert isinstance(read, contract.Failure)
    assert read.message.startswith("head")
    assert read.message.endswith("tail")
    assert (read.reason, read.line) == ("RunFailed", 4)


def _changed(**fields: object) -> str:
    return json.dumps(json.loads(contract.encode(REQUEST)) | fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "{}",
        "[" * 100_000,
        _changed(output=3),
        _changed(platforms="linux/amd64"),
        _changed(platforms=[1]),
        _changed(timeout_seconds="1"),
        _changed(args=[["only a name"]]),
    ],
    ids=range(11),
)
def test_a_request_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(contract.ContractError):
        contract.decode_request(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "killed",
        "[]",
        '{"v":1}',
        '{"v":1,"platforms":{}}',
        "[" * 100_000,
        '{"v":' + "[" * 900 + "]" * 900 + "}",
        '{"v":1,"platforms":[],"started":1' + "0" * 400 + "}",
        '{"v":1,"reason":"RunFailed","message":"\\ud800"}',
        '{"v":1,"reason":"RunFailed","message":"","line":9223372036854775808}',
    ],
    ids=range(10),
)
def test_an_answer_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(contract.ContractError):
        contract.decode_result(text)


@pytest.mark.parametrize(
    "value",
    [
        contract.BuildResult((), source=contract.SourceResult(message="m" * 5000, author="a" * 900)),
        contract.BuildResult((), source=contract.SourceResult("\x01" * 300, "c" * 40, "\x01" * 300, "\x01" * 300)),
        contract.BuildResult(
            (), base_images=tuple(contract.BaseImage("n" * 250, f"sha256:{n:064}") for n in range(13))
        ),
        contract.BuildResult((), steps=tuple(contract.Step(n, "RUN " + "ü" * 500, False) for n in range(99))),
    ],
    ids=["a long commit message", "a source of escapes", "many bases", "many steps"],
)
def test_a_result_always_fits_and_can_be_read(value: contract.BuildResult) -> None:
    text = termination.message(value)
    assert len(text.encode()) <= termination.LIMIT
    assert isinstance(contract.decode_result(text), contract.BuildResult)
