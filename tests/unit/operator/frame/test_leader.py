"""The Lease against an API server over a socket, with two operators and clocks of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from strata_operator import kube, leader, names
from support.fake_kube import FakeKube, asked

pytestmark = pytest.mark.asyncio
QUICK = leader.Timing(duration=60.0, deadline=30.0, period=0.01)  # by the clock of the tests
SHORT = leader.Timing(duration=3.0, deadline=0.3, period=0.01)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Place:
    """A namespace in which operators compete."""

    def __init__(self, fake: FakeKube, client: kube.Kube) -> None:
        self.fake, self.client, self.clock = fake, client, Clock()

    def operator(self, name: str, **more: Any) -> leader.Lease:
        given = {"timing": QUICK, "clock": self.clock} | more
        return leader.Lease(self.client, "strata-system", name, **given)

    @property
    def spec(self) -> Any:
        return (self.fake.get(names.LEASES, "strata-system", leader.LEASE) or {})["spec"]

    def write(self, **spec: Any) -> None:
        body: Any = self.fake.get(names.LEASES, "strata-system", leader.LEASE)
        self.fake.put(names.LEASES, {**body, "spec": {**body["spec"], **spec}})

    async def waits(self, *leases: leader.Lease) -> int:
        """How many of `leases` are not to be had after several tries."""
        tasks = [asyncio.create_task(lease.acquire()) for lease in leases]
        before = len(self.fake.asked("GET", "/leases/"))
        tries = 4 * len(leases)
        await until(lambda: all(t.done() for t in tasks) or len(self.fake.asked("GET", "/leases/")) > before + tries)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(end, asyncio.CancelledError) for end in ends)


@contextlib.asynccontextmanager
async def place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with asked(tmp_path, monkeypatch, names.LEASES) as (fake, client):
        yield Place(fake, client)


async def test_the_first_has_it_and_the_second_waits_until_it_is_given_up(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        first, second = here.operator("first"), here.operator("second")
        assert await first.acquire() is False
        assert here.spec["holderIdentity"] == "first"
        assert await here.waits(second)
        await first.release()
        assert await second.acquire() is False
        assert (here.spec["holderIdentity"], here.spec["leaseTransitions"]) == ("second", 1)
        await first.release()  # no longer its own
        assert here.spec["holderIdentity"] == "second"


async def test_of_two_who_make_it_at_once_one_has_it(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        assert await here.waits(*(here.operator(f"o{number}") for number in range(6))) == 5


async def test_a_holder_that_is_gone_is_followed_only_after_its_lease_was_seen_unchanged_for_its_duration(
    tmp_path, monkeypatch
):
    async with place(tmp_path, monkeypatch) as here:
        await here.operator("gone").acquire()
        here.write(renewTime="1999-01-01T00:00:00.000000Z")  # what its clock said does not count
        second = here.operator("second")
        assert await here.waits(second)
        here.clock.now += 59
        assert await here.waits(second)
        here.write(renewTime="1999-01-01T00:00:01.000000Z")  # it lives
        assert await here.waits(second)
        here.clock.now += 60
        assert not await here.waits(second)
        assert here.spec["holderIdentity"] == "second"


async def test_a_container_that_starts_again_goes_on_at_once(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        await here.operator("pod").acquire()
        assert await here.operator("pod").acquire() is False
        assert here.spec["leaseTransitions"] == 0
    assert leader.identity("pod") == "pod"
    assert leader.identity("") != leader.identity("")


async def test_a_holder_renews_and_bears_labels_of_others_and_a_deletion(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        lease = here.operator("first")
        await lease.acquire()
        hold = asyncio.create_task(lease.hold())
        for change in (
            lambda: here.write(strategy=""),
            lambda: here.fake.remove(names.LEASES, "strata-system", leader.LEASE),
        ):
            change()
            before = len(here.fake.asked("PATCH", "/leases/"))
            await until(lambda before=before: len(here.fake.asked("PATCH", "/leases/")) > before + 3)
            assert here.spec["holderIdentity"] == "first"
        assert not hold.done()
        hold.cancel()


async def test_who_finds_another_holder_has_lost(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        lease = here.operator("first")
        await lease.acquire()
        here.write(holderIdentity="second")
        with pytest.raises(leader.Lost, match="second"):
            await lease.hold()
        await lease.release()
        assert here.spec["holderIdentity"] == "second"


@pytest.mark.parametrize("change", [{"renewTime": "1999-01-01T00:00:00.000000Z"}, {"strategy": "any"}])
async def test_it_is_given_up_although_somebody_or_a_renewal_without_answer_wrote_last(tmp_path, monkeypatch, change):
    async with place(tmp_path, monkeypatch) as here:
        lease = here.operator("first")
        await lease.acquire()
        here.write(**change)
        await lease.release()
        assert here.spec["holderIdentity"] == ""


async def test_another_holder_is_left_alone_by_who_did_not_know_of_it(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        lease = here.operator("first")
        await lease.acquire()
        here.write(holderIdentity="second")
        await lease.release()
        assert here.spec["holderIdentity"] == "second"


@pytest.mark.parametrize("status", [503, 403, 500])
async def test_who_cannot_renew_it_in_time_has_lost(tmp_path, monkeypatch, status):
    async with place(tmp_path, monkeypatch) as here:
        lease = here.operator("first", timing=SHORT, clock=asyncio.get_running_loop().time)
        await lease.acquire()
        here.fake.fail("PATCH", "/leases/", status, times=10_000)
        with pytest.raises(leader.Lost, match="could not be renewed"):
            await lease.hold()


async def test_an_api_server_that_is_away_for_a_moment_costs_nothing(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as here:
        here.fake.fail("GET", "/leases/", 403, times=3)
        lease = here.operator("first")
        await lease.acquire()
        here.fake.fail("PATCH", "/leases/", 403, times=3)
        hold = asyncio.create_task(lease.hold())
        await until(lambda: not here.fake.faults)
        await until(lambda: len(here.fake.asked("PATCH", "/leases/")) > 8)
        assert not hold.done()
        hold.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.01)
