"""Which logs are kept, and what a packed log may cost its reader. Pure."""

import gzip

import pytest

from strata_builder import errors
from strata_builder.buildlog import artifact


def entry(number: int, attempt: int = 1, size: int = 100, mark: str = "") -> artifact.Entry:
    made = artifact.made(number, attempt, "Failed", "2026-11-29T10:00:00Z", f"{number}/{attempt}{mark}".encode())
    blob = artifact.Descriptor(made.blob.media_type, made.blob.digest, size, made.blob.annotations)
    return artifact.Entry(number, attempt, made.result, made.time, blob)


def keys(found: tuple[artifact.Entry, ...]) -> list[tuple[int, int]]:
    return [(each.number, each.attempt) for each in found]


def test_what_the_status_no_longer_tells_of_goes() -> None:
    assert keys(artifact.select([entry(5), entry(4), entry(3), entry(1)], {5, 3})) == [(5, 1), (3, 1)]


def test_the_newer_of_two_of_one_attempt_counts() -> None:
    (found,) = artifact.select([entry(5, mark="new"), entry(5)], {5})
    assert found.blob.digest == entry(5, mark="new").blob.digest


def test_of_a_build_that_is_tried_for_ever_the_newest_attempts_are_kept() -> None:
    found = artifact.select([entry(1, n) for n in range(1, 40)], {1})
    assert keys(found) == [(1, n) for n in range(39, 39 - artifact.ATTEMPTS, -1)]


def test_all_logs_together_are_bounded_and_the_newest_is_always_there() -> None:
    big = artifact.MAX_BLOB
    found = artifact.select([entry(n, 1, big) for n in range(1, 21)], set(range(1, 21)))
    assert keys(found)[0] == (20, 1)
    assert sum(each.blob.size for each in found) <= artifact.MAX_SIZE
    many = artifact.select([entry(n, a) for n in range(1, 21) for a in range(1, 12)], set(range(1, 21)))
    assert len(many) == artifact.MAX_LOGS
    assert keys(artifact.select([entry(1, 1, artifact.MAX_SIZE * 2)], {1})) == [(1, 1)]


def test_the_same_lines_give_the_same_bytes_and_come_back() -> None:
    lines = ["- build a", "", "- push é"]
    assert artifact.pack(lines) == artifact.pack(iter(lines))
    assert artifact.unpack(artifact.pack(lines)) == lines
    assert gzip.decompress(artifact.pack(lines)).decode() == "- build a\n\n- push é\n"


def test_a_log_that_unpacks_to_far_more_is_cut() -> None:
    bomb = gzip.compress(b"x" * (64 << 20))
    assert sum(map(len, artifact.unpack(bomb))) <= artifact.MAX_TEXT


def test_what_is_no_gzip_is_told_and_what_was_cut_is_read_as_far_as_it_goes() -> None:
    with pytest.raises(errors.LayerError, match="damaged"):
        artifact.unpack(b"no gzip at all")
    assert artifact.unpack(b"") == [""]
    assert artifact.unpack(gzip.compress(b"abc")[:-8]) == ["abc"]
