"""How hosts are treated that are asked regularly."""

import asyncio

import pytest

from strata_operator.imagebuild.triggers import hosts

HOST = "git.example:443"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, *, per_host: int = 2, overall: int = 3) -> hosts.Hosts:
    return hosts.Hosts(clock, per_host=per_host, overall=overall)


def test_a_host_that_goes_on_failing_is_left_alone_for_ever_longer_up_to_a_limit():
    clock = Clock()
    found = made(clock)
    assert found.wait(HOST) == 0
    delays = []
    for _ in range(12):
        delays.append(found.failed(HOST, "refused"))
        assert found.wait(HOST) == delays[-1]
        clock.now += delays[-1]
        assert found.wait(HOST) == 0
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]
    assert (found.wait("other:443"), found.reason(HOST), found.reason("other:443")) == (0, "refused", "")


def test_an_answer_ends_it():
    clock = Clock()
    found = made(clock)
    for _ in range(5):
        clock.now += found.failed(HOST, "refused")
    found.answered(HOST)
    assert (found.wait(HOST), found.reason(HOST)) == (0, "")
    assert found.failed(HOST, "again") == 5


def test_requests_that_fail_together_are_one_failure():
    found = made(Clock())
    assert [found.failed(HOST, "reset") for _ in range(50)] == [5] * 50


def test_what_the_host_asks_for_is_respected_within_bounds():
    clock = Clock()
    found = made(clock)
    assert found.failed(HOST, "429", retry_after=120) == 120
    assert found.failed(HOST, "a slower one of the same moment") == 120
    clock.now += 120
    assert found.failed(HOST, "429", retry_after=0) == 10
    clock.now += 10
    assert found.failed(HOST, "429", retry_after=1e12) == hosts.LONGEST_ASKED


@pytest.mark.parametrize("spared", [False, True])
def test_an_answer_to_what_was_asked_before_does_not_end_a_time_that_the_host_asked_for(spared):
    clock = Clock()
    found = made(clock)
    if spared:
        found.spare(HOST, 900)
    else:
        found.failed(HOST, "429", retry_after=900)
    clock.now += 1
    found.answered(HOST)  # one of four that were under way
    assert found.wait(HOST) == 899
    clock.now += 899
    found.answered(HOST)
    assert (found.wait(HOST), found.reason(HOST)) == (0, "")
    assert found.failed(HOST, "again") == 5


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("30", 30),
        (" 30 ", 30),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:59:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("9" * 5000, 999_999_999),
        ("Fri, 99 Jan 2027 08:01:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, expected):
    assert hosts.retry_after(header, Clock.now) == expected


@pytest.mark.parametrize(("overall", "host_count", "most"), [(100, 4, (2, 8)), (3, 1, (2, 2)), (3, 4, (2, 3))])
def test_no_more_requests_at_once_than_are_allowed_to_one_host_and_to_all(overall, host_count, most):
    async def scene() -> tuple[int, int]:
        found = made(Clock(), overall=overall)
        busy: dict[str, int] = {}
        one, all_of_them = 0, 0

        async def ask(host: str) -> None:
            nonlocal one, all_of_them
            async with found.turn(host):
                busy[host] = busy.get(host, 0) + 1
                one, all_of_them = max(one, busy[host]), max(all_of_them, sum(busy.values()))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                busy[host] -= 1

        await asyncio.gather(*(ask(f"host{n % host_count}") for n in range(80)))
        return one, all_of_them

    one, all_of_them = asyncio.run(scene())
    assert one <= most[0]
    assert all_of_them == most[1]


def test_memory_of_hosts_is_bounded():
    clock = Clock()
    found = made(clock)
    for number in range(25_000):
        found.failed(f"host{number}", "refused")
        clock.now += 1
    assert len(found._hosts) <= hosts._FORGOTTEN
