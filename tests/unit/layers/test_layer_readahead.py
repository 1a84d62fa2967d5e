"""Pieces that a thread makes: the same ones, the same failures, and no thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from strata_builder.layers import readahead


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_all_pieces_come_in_their_order(count: int) -> None:
    pieces = [b"%d" % number for number in range(count)]
    assert list(readahead.ahead(iter(pieces))) == pieces
    assert "readahead" not in names()


def failing(after: int) -> Iterator[bytes]:
    yield from (b"x" for _ in range(after))
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("after", [0, 1, 2, 3, 20])
def test_a_failure_comes_in_its_place(after: int) -> None:
    seen: list[bytes] = []
    with pytest.raises(OSError, match="Input/output"):
        seen.extend(readahead.ahead(failing(after)))
    assert len(seen) == (after if after > 1 else 0)
    assert "readahead" not in names()


def test_who_wants_no_more_ends_the_thread_and_what_makes_the_pieces() -> None:
    made, closed = [], []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                made.append(1)
                yield b"x"
        finally:
            closed.append(True)

    source = endless()
    pieces = readahead.ahead(source)
    for _ in range(5):
        next(pieces)
    pieces.close()
    assert "readahead" not in names()
    assert len(made) <= 5 + readahead.DEPTH + 2
    del source
    assert closed


def test_no_more_than_a_few_pieces_wait() -> None:
    made = []
    reached = threading.Event()

    def counted() -> Iterator[bytes]:
        for number in range(100):
            made.append(number)
            if number == readahead.DEPTH + 2:
                reached.set()
            yield b"x"

    pieces = readahead.ahead(counted())
    for _ in range(3):
        next(pieces)
    assert reached.wait(10)
    assert len(made) <= 3 + readahead.DEPTH + 1
    pieces.close()
