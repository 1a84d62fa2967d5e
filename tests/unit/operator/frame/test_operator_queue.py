# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The work queue: each key once, one worker a key, back-off, and telling how it stands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from strata_operator import kube, metrics, names, queue
from strata_operator.lanes import Lane, Lanes

pytestmark = pytest.mark.asyncio
A, B = names.Key("team", "a"), names.Key("team", "b")


@contextlib.asynccontextmanager
async def working(work: queue.Queue) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.005)


def make(reconcile, **more) -> tuple[queue.Queue, metrics.Metrics]:
    counters = metrics.Metrics()
    return queue.Queue("thing", reconcile, counters, **({"workers": 2, "first_backoff": 0.02} | more)), counters


async def test_a_key_added_many_times_before_a_worker_is_free_is_worked_on_once():
    seen = []

    async def reconcile(key):
        seen.append(key)

    work, _ = make(reconcile)
    for _ in range(10):
        work.add(A)
    work.add(B)
    assert work.depth == 2
    async with working(work):
        await until(lambda: work.idle)
    assert seen == [A, B]


async def test_two_workers_are_never_on_one_key_and_news_meanwhile_cause_one_more_look():
    running, most, count = 0, 0, 0
    release = asyncio.Event()

    async def reconcile(_key):
        nonlocal running, most, count
        running, count = running + 1, count + 1
        most = max(most, running)
        await release.wait()
        running -= 1

    work, _ = make(reconcile)
    async with working(work):
        work.add(A)
        await until(lambda: running == 1)
        for _ in range(5):
            work.add(A)
        await asyncio.sleep(0.02)
        release.set()
        await until(lambda: work.idle and count == 2)
    assert (most, count) == (1, 2)


def appointments(work: queue.Queue) -> list[float]:
    """The delays that the queue decides on from now on, in seconds."""
    delays = []
    plain = work.add_after
    work.add_after = lambda key, seconds: (delays.append(seconds), plain(key, seconds))
    return delays


async def test_failures_back_off_and_a_success_starts_the_count_anew():
    runs = 0

    async def reconcile(_key):
        nonlocal runs
        runs += 1
        if runs in (1, 2, 3, 5):
            raise RuntimeError("no")

    work, counters = make(reconcile)
    delays = appointments(work)
    async with working(work):
        work.add(A)
        await until(lambda: runs == 4)
        work.add(A)
        await until(lambda: runs == 6)
    assert delays == [pytest.approx(0.02 * factor, rel=0.2 + 1e-9) for factor in (1, 2, 4, 1)]
    assert b'strata_reconcile_total{kind="thing",result="error"} 4.0' in counters.render()


async def test_news_while_a_reconcile_fails_do_not_break_the_back_off():
    times = []

    async def reconcile(key):
        times.append(asyncio.get_running_loop().time())
        work.add(key)  # as the event of a write of its own would
        raise RuntimeError("no")

    work, _ = make(reconcile, first_backoff=0.1)
    async with working(work):
        work.add(A)
        await until(lambda: len(times) == 3)
    assert times[1] - times[0] >= 0.08
    assert times[2] - times[1] >= 0.16


async def test_a_conflict_is_tried_again_at_once_and_counted_apart():
    seen = []

    async def reconcile(key):
        seen.append(key)
        if len(seen) == 1:
            raise kube.Conflict(409, "Conflict", "somebody wrote")

    work, counters = make(reconcile, first_backoff=30.0)
    async with working(work):
        work.add(A)
        await until(lambda: len(seen) == 2)
    assert b'strata_reconcile_total{kind="thing",result="conflict"} 1.0' in counters.render()


async def test_a_returned_delay_brings_the_key_back_and_an_earlier_appointment_wins():
    seen = []

    async def reconcile(key):
        seen.append(key)
        return 0.03 if len(seen) < 3 else None

    work, _ = make(reconcile)
    async with working(work):
        work.add_after(A, 60)
        work.add_after(A, 0.01)
        work.add_after(A, 60)
        await until(lambda: len(seen) == 3)


async def test_a_reconcile_that_hangs_is_seen():
    async def reconcile(_key):
        await asyncio.Event().wait()

    work, _ = make(reconcile)
    assert work.longest_busy() == (None, 0.0)
    began = asyncio.get_running_loop().time()
    async with working(work):
        work.add(A)
        await until(lambda: work.longest_busy()[1] > 0.03)
        key, seconds = work.longest_busy()
        assert (key, seconds <= asyncio.get_running_loop().time() - began) == (A, True)


async def test_settled_keys_let_the_others_go_first_and_are_not_forgotten():
    seen = []

    async def reconcile(key):
        seen.append(key.name)

    work, counters = make(reconcile, workers=1, lane=lambda key: Lane[key.name.rstrip("0123456789").upper()])
    for number in range(3):
        work.add(names.Key("team", f"settled{number}"))
    for number in range(40):
        work.add(names.Key("team", f"open{number}"))
    assert work.depth == 43
    async with working(work):
        await until(lambda: work.idle)
    assert sorted(seen[-1:]) == ["settled2"]
    assert [name for name in seen[:20] if name.startswith("settled")] == ["settled0"]
    assert len(seen) == len(set(seen)) == 43
    waited = counters.registry.get_sample_value
    assert waited("strata_queue_wait_seconds_count", {"kind": "thing", "lane": "open"}) == 40


async def test_what_runs_goes_before_what_is_to_start_and_keeps_it_not_for_ever():
    seen = []

    async def reconcile(key):
        seen.append(key.name.rstrip("0123456789"))

    work, counters = make(reconcile, workers=1, lane=lambda key: Lane[key.name.rstrip("0123456789").upper()])
    for lane in ("settled", "open", "running"):
        for number in range(40):
            work.add(names.Key("team", f"{lane}{number}"))
    async with working(work):
        await until(lambda: work.idle)
    assert seen[:16] == [*["running"] * 3, "open"] * 3 + ["running"] * 3 + ["settled"]
    assert "running" not in seen[56:]
    assert seen[-30:] == ["settled"] * 30
    waited = counters.registry.get_sample_value
    assert waited("strata_queue_wait_seconds_count", {"kind": "thing", "lane": "running"}) == 40


async def test_a_key_moves_to_the_better_lane_alone_and_waits_since_it_came():
    lanes = Lanes()
    for since, lane in enumerate((Lane.OPEN, Lane.SETTLED, Lane.RUNNING, Lane.OPEN)):
        lanes.put(A, lane, float(since))
    lanes.put(B, Lane.RUNNING, 9.0)
    assert (len(lanes), A in lanes) == (2, True)
    assert [lanes.take(), lanes.take()] == [(A, Lane.RUNNING, 0.0), (B, Lane.RUNNING, 9.0)]
    assert (len(lanes), A in lanes) == (0, False)
    with pytest.raises(ValueError, match="nobody waits"):
        lanes.take()


async def test_a_settled_key_that_waits_and_is_touched_goes_first_after_all():
    seen = []
    touched = set()

    async def reconcile(key):
        seen.append(key.name)

    work, _ = make(reconcile, workers=1, lane=lambda key: Lane.OPEN if key.name in touched else Lane.SETTLED)
    for name in "abc":
        work.add(names.Key("team", name))
    touched.add("c")
    work.add(names.Key("team", "c"))
    async with working(work):
        await until(lambda: work.idle)
    assert seen == ["c", "a", "b"]


async def test_looks_that_ask_nobody_give_way_to_others():
    between = []

    async def reconcile(_key):
        between.append("look")

    work, _ = make(reconcile, workers=1)
    for number in range(50):
        work.add(names.Key("team", str(number)))
    async with working(work):
        await asyncio.sleep(0)
        while not work.idle:
            between.append("other")
            await asyncio.sleep(0)
    assert between.count("other") >= 40
