"""A .dockerignore of megabytes: refused where it is too much, and what is remembered of a walk stays small."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import patterns


def test_patterns_without_end_are_refused_at_the_line_where_they_are_too_many() -> None:
    line = b"*/folder/with/a/name\n"
    fits = patterns.MAX_CHARS // len(line)
    df.IgnoreRules.parse(line * (fits - 100))
    with pytest.raises(errors.DockerfileError, match="have more than 524288 characters together") as caught:
        df.IgnoreRules.parse(line * 200_000)
    assert caught.value.place is not None
    assert fits <= caught.value.place.line <= fits + 400
    assert "exclude folders" in caught.value.hint


def test_comments_and_blank_lines_count_nothing() -> None:
    assert df.IgnoreRules.parse(b"# word\n\n" * 300_000 + b"a\n").excludes("a")


def test_one_pattern_without_end_is_refused() -> None:
    with pytest.raises(errors.DockerfileError, match="which is the limit"):
        df.IgnoreRules.parse(b"a" * 600_000)


def test_so_are_those_of_exclude() -> None:
    with pytest.raises(patterns.BadPattern, match="which is the limit"):
        patterns.Patterns(["a" * 1000] * 600)


def test_a_state_is_written_down_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many patterns there are: integers of all states are made a fixed number of times."""
    made: list[int] = []
    bits = patterns._Marks.bits

    def counted(self: patterns._Marks, places: Iterable[int]) -> int:
        made.append(1)
        return bits(self, places)

    monkeypatch.setattr(patterns._Marks, "bits", counted)
    for count in (10, 1000):
        made.clear()
        assert patterns.Patterns(["**/a?[bc]*d", "!x/**"] * count).excludes("y/aabd")
        assert len(made) <= 20


@pytest.mark.parametrize("count", [1, 4000])
def test_what_is_remembered_of_folders_and_characters_has_a_limit_in_bytes(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "_MEMORY", 50_000)
    rules = patterns.Patterns([f"**/f{number}" for number in range(count)])
    sizes = set()
    for number in range(600):
        assert rules.excludes(f"d{number}{chr(0x4E00 + number)}/f0")
        held = (*rules._folders.values(), rules._taking)
        sizes.add(len(held))
    each = rules.size // 4 + 200
    assert max(sizes) * each <= 50_000 + 2 * each
    assert len(rules._taking) * each <= 50_000 + each


def test_a_walk_that_was_forgotten_is_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_MEMORY", 0)
    rules = patterns.Patterns(["a/*/c", "!a/x"])
    assert [rules.excludes(path) for path in ("a/b/c", "a/x/c", "a/b", "a/b/c/d")] == [True, False, False, True]
