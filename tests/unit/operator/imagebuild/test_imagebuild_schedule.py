"""Scheduled builds as decisions: when one comes due, what is made up for, what a restart and a changed spec do."""

import datetime
from typing import Any

import pytest

from strata_builder import contract, errors
from strata_operator import conditions
from strata_operator.imagebuild import questions, queueing, spec
from strata_operator.imagebuild.triggers import schedule
from support import imagebuilds as ib
from support.imagebuilds import World, ended, result, running

HOUR, DAY = 3600.0, 86_400.0
MIDNIGHT = datetime.datetime(2027, 1, 16, tzinfo=datetime.UTC).timestamp()  # the next one after imagebuilds.NOW


def world(**schedule: Any) -> World:
    """An image that was built, with a schedule: every midnight if nothing else is said."""
    made = World(body=ib.build(triggers={"schedule": {"cron": "0 0 * * *"} | schedule}))
    made.succeed()
    return made


def expected(made: World) -> float:
    return conditions.unix(made.status["nextScheduleTime"])


def test_the_next_time_is_in_the_status_and_looked_at_then():
    made = world()
    assert expected(made) == MIDNIGHT
    wait = made.look().look_again
    assert wait is not None
    assert 0 < made.now + wait - MIDNIGHT < 1
    made.now += 60
    assert made.step().status is None  # nothing for nothing
    assert len(made.started) == 1


def test_when_its_time_comes_it_is_built_though_nothing_changed_and_without_cached_steps():
    made = world()
    made.now = MIDNIGHT + 1
    made.settle()
    assert len(made.started) == 2
    assert made.current["reason"] == "Scheduled"
    assert made.started[-1].no_cache
    assert conditions.unix(made.status["lastScheduleTime"]) == MIDNIGHT
    assert expected(made) == MIDNIGHT + DAY
    made.succeed()
    assert made.condition("Ready") == ("True", "Succeeded")
    assert len(made.started) == 2


def test_the_cache_serves_where_the_schedule_says_so():
    made = world(noCache=False)
    made.now = MIDNIGHT + 1
    made.settle()
    assert [job.no_cache for job in made.started] == [False, False]


def test_a_kill_at_any_moment_neither_repeats_nor_loses_a_time():
    """All that is known is the status: each look here is a restarted operator's."""
    made = world()
    made.now = MIDNIGHT + 1
    for _ in range(8):
        made.step()
    assert len(made.started) == 2
    made.pod(ended(message=result()))
    made.finish()
    for _ in range(8):
        made.step()
    assert (len(made.started), made.current["number"]) == (2, 2)


@pytest.mark.parametrize(("missed", "builds"), [("Run", 2), ("Skip", 1)])
def test_many_times_that_passed_while_the_operator_was_away_are_one_build_or_none(missed, builds):
    made = world(missed=missed)
    made.now = MIDNIGHT + 9 * DAY + HOUR
    made.settle()
    assert len(made.started) == builds
    assert expected(made) == MIDNIGHT + 10 * DAY
    if builds == 2:
        assert conditions.unix(made.status["lastScheduleTime"]) == MIDNIGHT + 9 * DAY
        made.succeed()
    else:
        assert "lastScheduleTime" not in made.status
    assert len(made.started) == builds


@pytest.mark.parametrize(("late", "builds"), [(0.0, 2), (60.0, 2), (90.0, 2), (91.0, 1)])
def test_a_little_late_is_not_missed(late, builds):
    made = world(missed="Skip")
    made.now = MIDNIGHT + 3 * DAY + late  # the last one counts, whatever passed before
    made.settle()
    assert len(made.started) == builds


@pytest.mark.parametrize(("missed", "builds"), [("Run", 2), ("Skip", 1)])
def test_what_passes_while_it_is_suspended_is_made_up_for_or_not(missed, builds):
    made = world(missed=missed)
    made.edit(suspend=True)
    made.now = MIDNIGHT + 2 * DAY + HOUR
    decision = made.settle()
    assert len(made.started) == 1
    assert decision.look_again is None
    made.edit(suspend=False)
    made.settle()
    assert len(made.started) == builds
    assert expected(made) == MIDNIGHT + 3 * DAY


def test_suspended_through_no_time_at_all_nothing_is_built_on_resuming():
    made = world()
    made.edit(suspend=True)
    made.settle()
    made.now += 60
    made.edit(suspend=False)
    made.settle()
    assert len(made.started) == 1


def test_a_running_build_is_let_end_and_then_one_follows():
    made = world()
    made.annotate("strata.build/rebuild", "1")
    made.settle()
    made.pod(running())
    made.now = MIDNIGHT + 5
    made.settle()
    assert (len(made.started), len(made.jobs)) == (2, 2)  # the first one's is kept for its logs
    made.now = MIDNIGHT + HOUR
    made.pods.clear()
    made.succeed()
    made.succeed()
    assert [job.number for job in made.started] == [1, 2, 3]
    assert made.current["reason"] == "Scheduled"
    made.settle()
    assert len(made.started) == 3


def test_a_build_that_still_waits_serves_for_the_time_that_comes():
    made = world()
    made.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    made.annotate("strata.build/rebuild", "1")
    made.settle()
    assert made.condition("Building") == ("True", "Queued")
    made.now = MIDNIGHT + 5
    made.settle()
    assert expected(made) == MIDNIGHT + DAY
    made.answers[questions.Slot] = None
    made.succeed()
    assert (len(made.started), made.started[-1].no_cache, made.current["reason"]) == (2, True, "Rebuild")


def test_what_failed_is_tried_again_when_its_time_comes():
    made = world()
    made.annotate("strata.build/rebuild", "1")
    made.settle()
    made.pod(ended(code=11, message=contract.Failure("RunFailed", "exit 1")))
    made.finish(phase="Failed")
    made.settle()
    made.now = MIDNIGHT + 5
    made.pods.clear()
    made.succeed()
    assert len(made.started) == 3
    assert made.condition("LastBuildSucceeded") == ("True", "Succeeded")


def test_an_annotation_that_is_taken_away_does_not_hide_the_schedule():
    made = world()
    made.annotate("strata.build/rebuild", "1")
    made.succeed()
    made.annotate("strata.build/rebuild", "")
    made.now = MIDNIGHT + 1
    made.settle()
    assert made.current["reason"] == "Scheduled"


@pytest.mark.parametrize("change", [{"cron": "30 5 * * *"}, {"timeZone": "Europe/Berlin"}])
def test_a_changed_schedule_makes_up_for_nothing(change):
    """Neither before the old time nor after it, with the operator away when both passed."""
    for now in (MIDNIGHT - HOUR, MIDNIGHT + 12 * HOUR):
        made = world()
        made.edit(triggers={"schedule": {"cron": "0 0 * * *"} | change})
        made.now = now
        made.settle()
        assert len(made.started) == 1
        assert made.condition("Ready") == ("True", "Unchanged")
        assert expected(made) > now
        assert expected(made) % DAY == (5.5 * HOUR if "cron" in change else 23 * HOUR)


def test_a_schedule_that_goes_leaves_no_next_time():
    made = world()
    made.edit(triggers={})
    made.now = MIDNIGHT + 1
    made.settle()
    assert "nextScheduleTime" not in made.status
    assert len(made.started) == 1


def test_a_clock_that_is_put_back_does_not_repeat_a_time():
    made = world()
    made.now = MIDNIGHT + 1
    made.succeed()
    made.now = MIDNIGHT - 30
    made.settle()
    made.now = MIDNIGHT + 2
    made.settle()
    assert len(made.started) == 2
    assert expected(made) == MIDNIGHT + DAY


def test_applying_the_same_manifest_again_changes_nothing():
    made = world()
    made.edit()
    made.settle()
    assert made.condition("Ready") == ("True", "Unchanged")
    assert expected(made) == MIDNIGHT
    assert len(made.started) == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cron": "0 0 30 2 *"}, "spec.triggers.schedule.cron"),
        ({"cron": "@reboot"}, "spec.triggers.schedule.cron"),
        ({"cron": "0 0 * * *", "timeZone": "Mars/Olympus"}, "spec.triggers.schedule.timeZone"),
    ],
)
def test_what_means_nothing_is_an_invalid_spec_that_names_the_field(fields, named):
    body = ib.build(triggers={"schedule": fields})
    with pytest.raises(errors.InvalidSpec, match=named) as told:
        spec.parse(body)
    assert told.value.hint
    made = World(body=body)
    made.settle()
    assert made.condition("Stalled") == ("True", "InvalidSpec")
    assert named in made.message()
    assert made.started == []


def test_a_schedule_is_no_input_of_the_image():
    made = World()
    made.succeed()
    before = made.status["inputs"]
    made.edit(triggers={"schedule": {"cron": "@daily"}})
    made.settle()
    assert made.status["inputs"] == before
    assert len(made.started) == 1


def test_defaults_are_those_of_the_crd():
    found = schedule.parse({"triggers": {"schedule": {"cron": "@daily"}}})
    assert found == schedule.Schedule("@daily", "UTC", no_cache=True, skip=False)
