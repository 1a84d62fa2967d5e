"""The pace at which hosts are asked."""

import pytest

from strata_operator.imagebuild.triggers import hosts, paces

HOST = "registry.example"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_host_has_few_requests_at_once_and_one_turn_after_another():
    clock = Clock()
    known = paces.Paces(clock)
    assert [known.enter(HOST) for _ in range(paces.AT_ONCE + 1)] == [True] * paces.AT_ONCE + [False]
    known.leave(HOST)
    assert known.enter(HOST)
    assert [known.turn(HOST) for _ in range(3)] == pytest.approx([0.0, paces.PACE, 2 * paces.PACE])
    assert known.turn("another.example") == 0
    clock.now += 10
    assert known.turn(HOST) == 0


def test_hosts_that_users_name_do_not_fill_the_memory():
    clock = Clock()
    known = paces.Paces(clock)
    for number in range(paces._LARGEST + 10):
        known.turn(f"h{number}.example")
        clock.now += 0.2
    assert len(known._hosts) <= paces._LARGEST


def test_a_host_that_is_well_can_be_spared_and_has_no_failure_to_be_told():
    clock = Clock()
    known = hosts.Hosts(clock, per_host=1, overall=1)
    known.spare(HOST, 100.0)
    known.spare(HOST, 10.0)
    assert (known.wait(HOST), known.reason(HOST)) == (100.0, "")
    known.spare(HOST, 1e9)
    assert known.wait(HOST) == hosts.LONGEST_ASKED
