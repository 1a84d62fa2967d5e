"""Errors quote what strangers wrote, and still fit on a screen."""

from __future__ import annotations

import pytest

from strata_builder import dockerfile, errors
from strata_builder.oci.reference import Reference

ODD = "\udcff\ud800\u00e9"


def test_a_long_message_and_hint_lose_their_middle() -> None:
    error = errors.BuildError("a" + "x" * 100_000 + "z", hint="b" + "y" * 100_000 + "w")
    assert error.message.startswith("ax")
    assert error.message.endswith("xz")
    assert "[...]" in error.message
    assert len(error.message) < errors.MAX_TEXT + 10
    assert len(str(error)) < 2 * errors.MAX_TEXT + 100


@pytest.mark.parametrize(
    "source",
    [b"X" * 300_000, b"FROM x\nCOPY --" + b"x" * 300_000 + b" a b", b"FROM x\nRUN --mount=type=" + b"x" * 300_000],
    ids=["an instruction", "a flag", "a value"],
)
def test_a_word_without_end_is_not_repeated_whole(source: bytes) -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        dockerfile.parse(source)
    assert len(str(caught.value)) < 15_000


@pytest.mark.parametrize(
    "kind", [errors.BuildError, errors.DockerfileError, errors.SourceAuthFailed, errors.LayerError]
)
def test_what_no_terminal_takes_is_escaped_in_message_and_hint(kind: type[errors.BuildError]) -> None:
    error = kind(f"message {ODD}", hint=f"hint {ODD}")
    assert str(error).encode().decode() == "message \\udcff\\ud800é\nhint: hint \\udcff\\ud800é"


@pytest.mark.parametrize("text", [f"{ODD}://x", f"x{ODD}", f"x:{ODD}", f"x@{ODD}", f"X{ODD}", "0" * 64 + ODD])
def test_no_reference_is_refused_with_what_cannot_be_shown(text: str) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        Reference.parse(text)
    assert str(caught.value).encode()


def test_a_name_without_end_is_not_repeated_whole() -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        Reference.parse("host.example:5000/" + "A" * 300_000)
    assert len(str(caught.value)) < 2_000
