"""The table expansions.txt beside this file: word | what it expands to, or error."""

from __future__ import annotations

import pathlib

import pytest

from strata_builder import dockerfile, errors

ENV = {
    "A": "arg",
    "E": "",
    "V": "foo.tar.gz",
    "P": "/a/b/c.txt",
    "S": "two words",
    "N": "1",
    "STAR": "a*b*c",
    "UNI": "zwölf",
    "NEEDLE": "\\*",
    "LINES": "one\ntwo",
}


def _rows() -> list[tuple[str, str]]:
    table = (pathlib.Path(__file__).parent / "expansions.txt").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.strip() and not line.startswith("##")]
    return [(word.strip(), expected.strip()) for word, _, expected in (row.rpartition(" | ") for row in rows)]


@pytest.mark.parametrize(("word", "expected"), _rows())
def test_a_word_expands_as_the_table_says(word: str, expected: str) -> None:
    if expected.startswith("error: "):
        with pytest.raises(errors.DockerfileError) as caught:
            dockerfile.expand(word, ENV)
        assert expected.removeprefix("error: ") in caught.value.message
    else:
        assert dockerfile.expand(word, ENV) == expected.replace("<empty>", "").replace("<nl>", "\n")


def test_the_table_is_not_empty() -> None:
    assert len(_rows()) > 100


def test_the_backtick_escapes_where_it_is_the_escape_character() -> None:
    assert dockerfile.expand(r"C:\$A`$A`", ENV, escape="`") == r"C:\arg$A"


def test_what_a_word_expands_to_is_bounded() -> None:
    big = {"B": "x" * (1 << 20)}
    with pytest.raises(errors.DockerfileError, match="more than 8 MiB"):
        dockerfile.expand("$B" * 9, big)
    with pytest.raises(errors.DockerfileError, match="more than 8 MiB"):
        dockerfile.expand("${B//x/" + "y" * 100 + "}", big)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(errors.DockerfileError, match="nested too deep"):
        dockerfile.expand("${X:-" * 5000 + "}" * 5000, {})


def test_a_pattern_full_of_stars_is_not_slow() -> None:
    value = {"X": "a" * 20_000}
    assert dockerfile.expand("${X##" + "*a" * 500 + "*b}", value) == value["X"]
    assert dockerfile.expand("${X//" + "*a" * 200 + "b/z}", value) == value["X"]
