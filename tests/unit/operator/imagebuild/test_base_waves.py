"""Whom the news of base images wakes first, how many a second, and who has to wait for that."""

from __future__ import annotations

import asyncio

import pytest

from strata_operator import metrics, names, queue
from strata_operator.imagebuild.triggers import waves

pytestmark = pytest.mark.asyncio


def key(text: str) -> names.Key:
    """`team/web:7` is of priority 7, `team/web` of none."""
    namespace, name = text.partition(":")[0].split("/")
    return names.Key(namespace, name)


class Sea:
    """Waves, who was woken, and how often they began."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.began = 0
        self.priorities: dict[names.Key, int] = {}
        self.waves = waves.Waves(
            wake=lambda who: self.woken.append(str(who)), priority=lambda who: self.priorities.get(who, 0),
            begin=self._begin,
        )  # fmt: skip

    def _begin(self) -> None:
        self.began += 1

    def of(self, text: str) -> names.Key:
        if number := text.partition(":")[2]:
            self.priorities[key(text)] = int(number)
        return key(text)

    def add(self, *texts: str) -> None:
        self.waves.add(map(self.of, texts))

    async def release(self, times: int = 1) -> list[float | None]:
        return [await self.waves.release(waves.KEY) for _ in range(times)]


async def test_two_thousand_of_one_namespace_come_by_priority_and_do_not_hold_up_the_single_one_of_another():
    sea = Sea()
    sea.add("b/lone", *(f"a/n{number:04}:{number % 3}" for number in range(2000)))
    waits = await sea.release(2001)
    assert waits == [1 / waves.PER_SECOND] * 2000 + [None]
    assert sea.woken.index("b/lone") <= 1
    sea.woken.remove("b/lone")
    assert [int(who[-4:]) % 3 for who in sea.woken] == [2] * 666 + [1] * 667 + [0] * 667
    assert await sea.release() == [None]


async def test_who_comes_into_a_wave_takes_its_place_by_priority_and_once():
    sea = Sea()
    sea.add("a/calm", "a/calmer:-1")
    sea.add("a/calm", "a/urgent:5")
    await sea.release(4)
    assert sea.woken == ["a/urgent", "a/calm", "a/calmer"]


async def test_it_begins_when_there_is_somebody_and_goes_on_by_itself():
    sea = Sea()
    sea.add()
    assert sea.began == 0
    sea.add("a/one")
    sea.add("a/two")
    assert sea.began == 1
    await sea.release(2)
    sea.add("a/three")
    assert sea.began == 2


@pytest.mark.parametrize(
    ("waiting", "who", "may"),
    [
        ([], "a/web", True),
        (["a/other"], "a/web", True),
        (["a/other:-1"], "a/web", True),
        (["b/other:9"], "a/web", True),
        (["a/other:1"], "a/web", False),
        (["a/web"], "a/web", False),
        (["a/web:3", "a/other"], "a/web:3", False),
    ],
)
async def test_whose_turn_has_not_come_is_woken_when_it_has(waiting, who, may):
    sea = Sea()
    sea.add(*waiting)
    assert sea.waves.turn(sea.of(who)) is may
    await sea.release(3)
    assert sea.woken.count("a/web") == (not may)
    assert sea.waves.turn(sea.of(who))


async def test_a_queue_drives_it():
    sea, done = Sea(), asyncio.Event()
    drives = queue.Queue(waves.KIND, sea.waves.release, metrics.Metrics(), workers=1)
    sea.waves._begin = lambda: drives.add(waves.KEY)
    sea.waves._wake = lambda who: done.set() if who == key("a/two") else None
    work = asyncio.create_task(drives.run())
    sea.add("a/one:1", "a/two")
    async with asyncio.timeout(20):
        await done.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert not sea.waves.holds(key("a/two"))
