"""Builds at times of the clock. Pure.

What was handled is in the status: `nextScheduleTime` is the first time that was not. So an operator that was away, or
waited for a running build, finds it in the past; however many times have passed since, they are one build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strata_builder import errors
from strata_operator.imagebuild.triggers import cron

#: Seconds after which a time counts as missed: an operator that starts or is busy is not punctual.
LATE: Final = 90.0
_FIELD: Final = "spec.triggers.schedule"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`skip`: what was missed is not made up for. `no_cache`: cached RUN steps are ignored."""

    cron: str
    zone: str = "UTC"
    no_cache: bool = True
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """`expected` is the first time that was not handled yet; `due` the one to build for now."""

    expected: float | None = None
    due: float | None = None


def parse(spec: Mapping[str, Any]) -> Schedule | None:
    """The schedule of an ImageBuild's spec. Raises errors.InvalidSpec naming the field."""
    found = (spec.get("triggers") or {}).get("schedule")
    if not found:
        return None
    schedule = Schedule(
        str(found.get("cron", "")),
        str(found.get("timeZone", "UTC")),
        bool(found.get("noCache", True)),
        found.get("missed", "Run") == "Skip",
    )
    try:
        cron.check_zone(schedule.zone)
    except cron.BadCron as e:
        hint = "for example Europe/Berlin; see `timedatectl list-timezones`, or leave it out for UTC"
        raise errors.InvalidSpec(f"{_FIELD}.timeZone: {e}", hint=hint) from e
    try:
        cron.check(schedule.cron, schedule.zone)
    except cron.BadCron as e:
        hint = 'for example "30 3 * * MON-FRI" (half past three on working days) or "@daily"'
        raise errors.InvalidSpec(f"{_FIELD}.cron: {e}", hint=hint) from e
    return schedule


def look(schedule: Schedule, expected: float | None, handled: float | None, now: float) -> Moment:
    """What time it is for a schedule whose status expects `expected` and has `handled` (None: not known yet).

    A time that this schedule does not have was expected by an earlier one: a changed schedule makes up for nothing.
    """
    if expected is not None and expected <= now and _following(schedule, expected - 1) == expected:
        last = cron.latest(schedule.cron, schedule.zone, expected, now)
        if not schedule.skip or now - last <= LATE:
            return Moment(expected, last)
    return Moment(after(schedule, handled, now))


def after(schedule: Schedule, handled: float | None, now: float) -> float | None:
    """The next time; a clock that was put back does not bring back what was handled."""
    return _following(schedule, max(now, handled or 0.0))


def _following(schedule: Schedule, moment: float) -> float | None:
    try:
        return cron.following(schedule.cron, schedule.zone, moment)
    except cron.BadCron:
        return None  # one that comes but once in decades may never come again; `parse` tells of those that never did
