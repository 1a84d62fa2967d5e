"""ImageBuilds whose scheduled times pass while nobody builds them, and what is to come of that."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Final

from strata_operator import conditions
from strata_operator.imagebuild.triggers import schedule
from support import e2e

#: Names, and spec.triggers.schedule.missed.
MISSED: Final = {"made-up-for": "Run", "passed-over": "Skip"}
_MARGIN: Final = 30  # seconds in which a slow machine sees to it that nobody builds them
_FIRST_BUILD: Final = (1, "SpecChanged", "Succeeded")


@dataclass(frozen=True, slots=True)
class Times:
    """`count` minutes of every hour; the one that begins at the Unix time `first` is the first."""

    first: int
    count: int

    @property
    def cron(self) -> str:
        minutes = [(self.first // 60 + number) % 60 for number in range(self.count)]
        return f"{','.join(map(str, minutes))} * * * *"

    @property
    def last(self) -> int:
        return self.first + 60 * (self.count - 1)


def image_build(name: str, times: Times | None = None, *, suspend: bool = False) -> e2e.Body:
    """One of MISSED."""
    body = e2e.image_build(name, "FROM scratch\nCOPY a /\n", source={"inline": {"a": name}}, suspend=suspend)
    if times is not None:
        body["spec"]["triggers"] = {"schedule": {"cron": times.cron, "missed": MISSED[name]}}
    return body


def scheduled(home: e2e.Namespace, count: int) -> Times:
    """All of MISSED, built and with so many times that are about to come."""
    for name in MISSED:
        home.build(image_build(name))
    times = Times((int(time.time()) + _MARGIN) // 60 * 60 + 60, count)
    for name in MISSED:
        home.apply(image_build(name, times))
    for name in MISSED:
        home.until("its time is known", functools.partial(_waits_for, home, name, times.first), name=name)
    return times


def until_late(home: e2e.Namespace, times: Times) -> None:
    """Until all these times count as missed; nothing has been built for them."""
    late = times.last + schedule.LATE + 5
    home.until("the times are long past", lambda: time.time() > late, seconds=late - time.time() + 10)
    for name in MISSED:
        assert built(home, name) == [_FIRST_BUILD]


def until_made_up_for(home: e2e.Namespace, times: Times) -> None:
    """Until the schedules are heeded again: all the times together are one build, or none."""
    for name in MISSED:
        home.until("its next time", functools.partial(_waits_for, home, name, times.first + 3600), name=name)
    home.until("a build", lambda: len(built(home, "made-up-for")) > 1, seconds=120, name="made-up-for")
    assert built(home, "made-up-for") == [(2, "Scheduled", "Succeeded"), _FIRST_BUILD]
    assert built(home, "passed-over") == [_FIRST_BUILD]
    assert conditions.unix(home.status("made-up-for")["lastScheduleTime"]) == times.last
    assert "lastScheduleTime" not in home.status("passed-over")
    assert [len(home.jobs(name)) for name in MISSED] == [2, 1]


def built(home: e2e.Namespace, name: str) -> list[tuple[int, str, str]]:
    """Number, reason and result of each build, the newest first."""
    return [(b["number"], b["reason"], b["result"]) for b in home.status(name)["builds"]]


def _waits_for(home: e2e.Namespace, name: str, moment: int) -> bool:
    told = home.status(name).get("nextScheduleTime")
    return told is not None and conditions.unix(told) == moment
