"""Looking again and again until something is there."""

import itertools
import time

import pytest

from support import patience


def test_what_is_found_is_given_back_and_what_is_not_there_at_once_is_found_later():
    assert patience.look(lambda: "there", seconds=0) == "there"
    answers = iter(["", "", "there"])
    assert patience.look(lambda: next(answers), seconds=30) == "there"


def test_the_last_answer_is_given_when_the_time_is_up():
    began = time.monotonic()
    assert patience.look(list, seconds=0.2) == []
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("costs", "pauses"), [(0.0, [0.05, 0.075, 0.1125]), (0.1, [0.3, 0.3, 0.3]), (2.0, [1.0] * 3)])
def test_who_looks_leaves_the_processor_to_others(monkeypatch, costs, pauses):
    now, slept = itertools.count(0.0, costs), []
    monkeypatch.setattr(patience.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(patience.time, "sleep", slept.append)
    patience.look(lambda: len(slept) == 3, seconds=1e9)
    assert slept == pytest.approx(pauses)


def test_looks_are_never_further_apart_than_a_fifth_of_a_second_where_they_cost_nothing(monkeypatch):
    slept = []
    monkeypatch.setattr(patience.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(patience.time, "sleep", slept.append)
    patience.look(lambda: len(slept) == 30, seconds=1)
    assert max(slept) == 0.2
