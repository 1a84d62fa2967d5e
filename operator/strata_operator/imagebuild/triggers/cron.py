"""The times of a cron expression in a time zone. Pure, save that zones are read from the tzdata package or the system.

Five fields as crontab(5) of Debian has them, also L, LW and # (`5#3`: the third Friday), and the macros. So has daylight
saving time: where minute and hour are numbers, a time that the clock skips comes as soon as it goes on, and one that it
shows twice comes once; where either begins with a star, times follow the clock that passes.
"""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import re
import zoneinfo
from typing import Final

import cronsim

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST: Final = 128  # characters of an expression
_MINUTE: Final = 60
_WEEK: Final = 7 * 86_400  # no clock is changed twice within one
_FIELD: Final = r"[0-9A-Za-z*/,#-]+"
_SHAPE: Final = re.compile(rf"{_FIELD}(?:[ \t]+{_FIELD}){{4}}")
#: Names of the zone database that are no zones of the world: leap seconds count in them, or they mean this machine.
_NO_ZONES: Final = ("right/", "posix/", "posixrules", "localtime", "Factory")


class BadCron(ValueError):
    """The expression, or the name of the zone, means nothing; the text says why."""


def check(cron: str, zone: str) -> None:
    """Raises BadCron unless `cron` has a time to come in `zone`."""
    following(cron, zone, 0.0)


def check_zone(name: str) -> None:
    """Raises BadCron unless `name` is a time zone."""
    _zone(name)


@functools.lru_cache(maxsize=4096)
def following(cron: str, zone: str, after: float) -> float:
    """The first time (Unix seconds) later than `after`. Raises BadCron."""
    fields, clock = _fields(cron), _zone(zone)
    try:
        return _passing(fields, clock, after) if _has_star(fields) else _named(fields, clock, after)
    except cronsim.CronSimError as e:
        raise BadCron(f"{cron!r}: {_told(e)}") from e
    except StopIteration:
        raise BadCron(f"{cron!r} has no time that ever comes") from None


def _has_star(fields: str) -> bool:
    return any(field.startswith("*") for field in fields.split()[:2])


def _named(fields: str, clock: datetime.tzinfo, after: float) -> float:
    """Each local time once; one that is skipped, when the clock goes on. In an hour that comes twice, `after` may lie
    behind times that have passed."""
    begin = datetime.datetime.fromtimestamp(int(after), clock)
    return next(at for time in cronsim.CronSim(fields, begin) if (at := time.timestamp()) > after)


def _passing(fields: str, clock: datetime.tzinfo, after: float) -> float:
    """The first moment whose local time matches. Between two changes of the clock local time is one with an offset."""
    since = int(after) + 1  # the first second that may be it
    shown = wall = 0.0
    while True:
        offset = _offset(clock, since)
        if not shown <= since + offset <= wall:  # else what was found is still the next
            shown = since + offset
            begin = datetime.datetime.fromtimestamp(shown - 1, datetime.UTC)
            wall = next(cronsim.CronSim(fields, begin)).timestamp()
        change = _change(clock, since, wall - offset)
        if change is None:
            return wall - offset
        since = change


def _change(clock: datetime.tzinfo, since: float, until: float) -> int | None:
    """The first second at which the clock is put on or back, later than `since` and not later than `until`."""
    before = _offset(clock, since)
    low = high = int(since)
    while _offset(clock, high) == before:
        if high >= until:
            return None
        low, high = high, int(min(high + _WEEK, until))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(clock, middle) == before else (low, middle)
    return high


def _offset(clock: datetime.tzinfo, moment: float) -> int:
    """Seconds by which local time is before UTC."""
    found = datetime.datetime.fromtimestamp(moment, clock).utcoffset()
    return int(found.total_seconds()) if found is not None else 0


def latest(cron: str, zone: str, first: float, now: float) -> float:
    """The last time that is not later than `now`, given that `first` is one that is not. Raises BadCron."""
    low, high = first - 1, now
    while high - low > _MINUTE:
        middle = (low + high) // 2
        if following(cron, zone, middle) <= now:
            low = middle
        else:
            high = middle
    found = first
    while (at := following(cron, zone, low)) <= now:
        found = low = at
    return found


def _fields(cron: str) -> str:
    text = MACROS.get(cron.strip().lower(), cron.strip())
    if text.startswith("@"):
        raise BadCron(f"{cron[:LONGEST]!r} is none of the macros {', '.join(MACROS)}")
    if len(text) > LONGEST or not _SHAPE.fullmatch(text):
        raise BadCron(f"{cron[:LONGEST]!r} is not five fields (minute, hour, day of month, month, day of week)")
    return text


def _told(error: cronsim.CronSimError) -> str:
    """'Bad minute' as a sentence for people."""
    field = str(error).removeprefix("Bad ")
    return f"its {field} is out of range, not written as cron has it, or a day that no such month has"


def _zone(name: str) -> datetime.tzinfo:
    if name in ("UTC", "Etc/UTC"):
        return datetime.UTC
    if name not in _zones():
        raise BadCron(f"{name[:64]!r} is not a time zone of the IANA database")
    return zoneinfo.ZoneInfo(name)


@functools.cache
def _zones() -> frozenset[str]:
    names = importlib.resources.files("tzdata").joinpath("zones").read_text("ascii").split()
    return frozenset(name for name in names if not name.startswith(_NO_ZONES))
