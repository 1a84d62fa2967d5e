"""Times of cron expressions: across changes of the clock in several zones, against a clock that is asked each minute."""

import datetime
import zoneinfo

import pytest

from strata_operator.imagebuild.triggers import cron

BERLIN, NEW_YORK, SAO_PAULO = "Europe/Berlin", "America/New_York", "America/Sao_Paulo"
HALF_AN_HOUR = "Australia/Lord_Howe"  # its clock changes by thirty minutes


def unix(text: str, zone: str = "UTC") -> float:
    """Local time, or one with an offset."""
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))).timestamp()


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next ones in local time with its offset."""
    found, at = [], unix(after, zone)
    for _ in range(count):
        at = cron.following(expression, zone, at)
        found.append(datetime.datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("30 3 * * *", "UTC", "2026-03-01T03:30", ["2026-03-02T03:30+00:00"]),
        ("30 3 * * MON-FRI", "UTC", "2026-10-30T04:00", ["2026-11-02T03:30+00:00", "2026-11-03T03:30+00:00"]),
        ("0 0 1,15 * *", "UTC", "2026-02-01T00:00", ["2026-02-15T00:00+00:00", "2026-03-01T00:00+00:00"]),
        ("0 0 29 feb *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00+00:00"]),
        ("0 0 L * *", "UTC", "2026-02-01T00:00", ["2026-02-28T00:00+00:00", "2026-03-31T00:00+00:00"]),
        ("0 0 * * 5#3", "UTC", "2026-02-01T00:00", ["2026-02-20T00:00+00:00"]),
        ("0 12 13 * FRI", "UTC", "2026-02-10T00:00", ["2026-02-13T12:00+00:00", "2026-02-20T12:00+00:00"]),
        ("10-20/5 9 * * *", "UTC", "2026-02-10T09:11", ["2026-02-10T09:15+00:00", "2026-02-10T09:20+00:00"]),
        ("@weekly", "UTC", "2026-02-10T00:00", ["2026-02-15T00:00+00:00"]),
        ("@Hourly", "Asia/Kolkata", "2026-02-10T00:30", ["2026-02-10T01:00+05:30"]),
        # a time that the clock skips comes as soon as it goes on
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("0 0 * * *", SAO_PAULO, "2018-11-03T12:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
        ("15 2,3 * * *", NEW_YORK, "2026-03-08T00:00", ["2026-03-08T03:00-04:00", "2026-03-08T03:15-04:00"]),
        ("0,30 2 * * *", BERLIN, "2026-03-29T01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("15 2 * * *", HALF_AN_HOUR, "2026-10-03T12:00", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        # one that it shows twice comes once
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("45 1 * * *", HALF_AN_HOUR, "2026-04-04T12:00", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        # begun in the second of two equal hours: what was there in the first has been
        ("30 2 * * *", BERLIN, "2026-10-25T02:10+01:00", ["2026-10-26T02:30+01:00"]),
        # with a star it goes as the clock does
        ("*/40 2-3 * * *", BERLIN, "2026-10-25T02:30+02:00", ["2026-10-25T02:40+02:00", "2026-10-25T02:00+01:00"]),
        ("0 * * * *", BERLIN, "2026-03-29T01:30", ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]),
        ("*/30 * * * SUN", SAO_PAULO, "2018-11-03T12:00", ["2018-11-04T01:00-02:00", "2018-11-04T01:30-02:00"]),
        ("0 * * * *", NEW_YORK, "2026-11-01T00:30", ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"]),
    ],
)  # fmt: skip
def test_the_next_times(expression, zone, after, expected):
    assert times(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize("expression", ["*/7 * * * *", "5 */3 * * *", "*/20 1-3 * * SUN,MON"])
@pytest.mark.parametrize(
    ("zone", "around"),
    [
        (SAO_PAULO, "2018-11-03"),
        (SAO_PAULO, "2018-02-17"),
        (NEW_YORK, "2026-03-07"),
        (BERLIN, "2026-10-24"),
        (HALF_AN_HOUR, "2026-10-03"),
        (HALF_AN_HOUR, "2026-04-04"),
        ("Asia/Kathmandu", "2026-04-04"),
    ],
)
def test_with_a_star_they_are_the_minutes_whose_local_time_matches(zone, expression, around):
    """In daylight saving, too: what a clock on the wall shows, minute by minute."""
    begin = unix(around, zone)
    wall = zoneinfo.ZoneInfo(zone)
    minutes = (datetime.datetime.fromtimestamp(begin + 60 * n, wall) for n in range(1, 2 * 24 * 60))
    expected = [at.timestamp() for at in minutes if _matches(expression, at)]
    found, at = [], begin
    while (at := cron.following(expression, zone, at)) <= begin + 60 * (2 * 24 * 60 - 1):
        found.append(at)
    assert found == expected


def _matches(expression: str, at: datetime.datetime) -> bool:
    return {
        "*/7 * * * *": at.minute % 7 == 0,
        "5 */3 * * *": at.minute == 5 and at.hour % 3 == 0,
        "*/20 1-3 * * SUN,MON": at.minute % 20 == 0 and 1 <= at.hour <= 3 and at.weekday() in (6, 0),
    }[expression]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, HALF_AN_HOUR])
def test_times_only_ever_move_on(zone):
    """Whatever second one asks from: the answer is later, and never earlier than that for an earlier second."""
    for begin in (unix("2026-10-24T22:00", zone), unix("2026-04-04T22:00", zone), unix("2026-03-28T22:00", zone)):
        for expression in ("*/15 1,2 * * *", "15,45 1,2 * * *"):
            moments = [begin + step for step in range(0, 8 * 3600, 97)]
            found = [cron.following(expression, zone, moment) for moment in moments]
            assert all(at > moment for at, moment in zip(found, moments, strict=True))
            assert found == sorted(found)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@reboot", "none of the macros @yearly"),
        ("@every 5m", "none of the macros"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"),
        ("* * * FOO *", "month"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("0 0 30 2 *", "day"),
        ("0 0 31 4,6,9,11 *", "day"),
        ("0 0 */31 2 1#5", "no time that ever comes"),
        ("0 0 * * 1#6", "day-of-week"),
        ("9" * 5000 + " * * * *", "five fields"),
        ("9" * 100 + " * * * *", "minute"),
        (",".join(["*"] * 70) + " * * * * ", "five fields"),
        ("* * * * *; rm", "five fields"),
        ("٣ * * * *", "five fields"),
        ("*\n* * * *", "five fields"),
    ],
)
def test_what_means_nothing_is_told(expression, said):
    with pytest.raises(cron.BadCron) as told:
        cron.check(expression, "UTC")
    assert said in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(
    "zone",
    ["", "Nowhere/City", "europe/berlin", "../../etc/passwd", "/etc/localtime", "Europe", "posixrules", "right/UTC",
     "Factory", "localtime", "UTC+1", "A" * 10_000, "Europe/Berlin\0"],
)  # fmt: skip
def test_what_is_no_zone_is_told(zone):
    with pytest.raises(cron.BadCron, match="is not a time zone of the IANA database"):
        cron.check("* * * * *", zone)


@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "EST5EDT", "Etc/GMT+5"]
)
def test_zones_of_the_database_are_known(zone):
    cron.check("0 4 * * SUN", zone)


@pytest.mark.parametrize(
    "expression", ["* * * * *", "7 * * * *", "30 2 * * *", "* * 1-15 * *", "0 0 1 1 *", "0 0 29 2 *"]
)
@pytest.mark.parametrize("away", [0, 59, 3600, 86_400 * 40, 86_400 * 365 * 9])
def test_the_last_of_many_missed_times_is_found(expression, away):
    first = cron.following(expression, BERLIN, unix("2026-10-24T12:00"))
    found = cron.latest(expression, BERLIN, first, first + away)
    assert first <= found <= first + away
    assert cron.following(expression, BERLIN, found) > first + away
    assert cron.following(expression, BERLIN, found - 1) == found
