"""What is shown of a step's output, and what never is."""

from __future__ import annotations

import io

import pytest

from strata_builder.engine import report, stepoutput

SECRET = b"s3cret-value"
LONG = 70_000  # more than is held back of a line that has not ended


def shown(pieces: list[bytes], secrets: tuple[bytes, ...] = (SECRET,)) -> tuple[bytes, str]:
    """What the sink gets, and the tail."""
    got: list[bytes] = []
    output = stepoutput.StepOutput(secrets, got.append)
    for piece in pieces:
        output.write(piece)
    output.finish()
    return b"".join(got), output.tail()


@pytest.mark.parametrize("at", [*range(len(SECRET) + 1), 40_000])
@pytest.mark.parametrize("step", [1, 4096, 65_535, LONG])
def test_a_secret_in_a_line_without_end_is_masked_wherever_the_line_is_cut(at: int, step: int) -> None:
    text = b"x" * (65_537 - at) + SECRET + b"y" * LONG + SECRET + b"z"
    begins = text[: 65_537 - at + 3]
    rest = text[len(begins) :]
    pieces = [begins, *(rest[n : n + step] for n in range(0, min(len(rest), 200 * step), step))]
    pieces.append(rest[sum(map(len, pieces[1:])) :])
    whole, tail = shown(pieces)
    assert whole == text.replace(SECRET, b"***")
    assert "s3cret" not in tail


def test_no_part_of_a_secret_is_put_together_again_by_who_shows_lines() -> None:
    out = io.StringIO()
    plain = report.Plain(out)
    plain.started("s", "RUN x")
    output = stepoutput.StepOutput((SECRET,), lambda data: plain.output("s", data))
    for piece in (b"x" * 65_530 + SECRET[:8], SECRET[8:] + b"\n"):
        output.write(piece)
    output.finish()
    plain.ended("s", cached=False, seconds=1.0, size=0)
    assert "s3cret" not in out.getvalue()
    assert "***" in out.getvalue()


@pytest.mark.parametrize("length", [100_000, 300_000])
def test_a_secret_that_is_longer_than_what_is_held_back_is_masked(length: int) -> None:
    secret = bytes(range(65, 91)) * (length // 26)
    text = b"a" * 66_000 + secret + b"b" * 66_000
    whole, _ = shown([text[n : n + 4096] for n in range(0, len(text), 4096)], (secret, SECRET))
    assert whole == text.replace(secret, b"***")


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_a_line_without_end_takes_a_bounded_place(secrets: tuple[bytes, ...]) -> None:
    got: list[bytes] = []
    output = stepoutput.StepOutput(secrets, got.append)
    for _ in range(100):
        output.write(b"x" * 4096)
    assert sum(map(len, got)) > 100 * 4096 - 70_000
    output.finish()
    assert b"".join(got) == b"x" * 409_600
