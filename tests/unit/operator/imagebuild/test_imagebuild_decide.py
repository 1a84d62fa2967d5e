"""Every row of the conditions table, every gate before a Job, every class of failure: as decisions in a small world."""

import copy
import itertools
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import questions, queueing, settling, tags
from support import imagebuilds as ib
from support.imagebuilds import World, ended, result, running, waiting

FAILURE = contract.Failure


def failed_world(failure: contract.Failure, **kwargs: Any) -> World:
    """A world whose first build has ended with `failure`."""
    world = World(**kwargs)
    world.settle()
    world.pod(ended(code=1, message=failure))
    world.finish(phase="Failed")
    world.settle()
    return world


def jittered(delays: list[float], whole: list[float]) -> bool:
    """Each delay is at most a quarter below its whole one, up to the milliseconds that a status leaves out."""
    return all(0.75 * most - 0.001 <= delay <= most + 0.001 for delay, most in zip(delays, whole, strict=True))


# -- the table of conditions --


def test_a_new_object_becomes_reconciling_and_gets_one_job():
    world = World()
    decision = world.step()
    assert decision.start is not None
    assert world.condition("Ready") == ("Unknown", "Building")
    assert world.condition("Reconciling") == ("True", "Building")
    assert world.condition("Building") == ("True", "Building")
    assert world.condition("Stalled") is None
    assert world.status["observedGeneration"] == 1
    assert world.current["phase"] == "Starting"
    world.settle()
    assert len(world.started) == 1
    assert world.current["phase"] == "Starting"


def test_a_pod_that_runs_within_a_moment_is_told_of_in_one_write():
    """What was said at the start is true until it runs; only where that takes its time is the way there told."""
    world = World()
    world.step()
    said = copy.deepcopy(world.status)
    for statuses in (None, [], [waiting()]):
        if statuses is not None:
            world.pod(*statuses)
        world.now += 4
        left = conditions.unix(world.current["startTime"]) + 15 - world.now
        assert world.step().look_again == pytest.approx(min(left, 5), abs=0.002)
        assert world.status == said
    world.pod(running())
    world.step()
    assert (world.current["phase"], world.message("Building")[:4]) == ("Running", "pod ")


@pytest.mark.parametrize("there", [False, True], ids=["no pod", "a pod that starts"])
def test_what_keeps_a_pod_from_running_is_told_when_the_moment_is_over(there):
    world = World()
    world.step()
    if there:
        world.pod(waiting())
    world.now += 15
    world.settle()
    words = "is starting" if there else "the Job's pod is being made"
    assert (world.current["phase"], words in world.message("Building")) == ("Running", True)


@pytest.mark.parametrize("seconds", [60, 26 * 3600])
def test_a_moment_is_not_waited_for_that_a_clock_has_set_back(seconds):
    world = World()
    world.step()
    world.pod(waiting())
    world.now -= seconds
    assert world.settle().look_again == 5
    assert "is starting" in world.message("Building")


def test_trouble_of_a_pod_is_told_at_once():
    world = World()
    world.step()
    world.pod(waiting(reason="ErrImagePull", message="no such image"))
    world.step()
    assert world.condition("Building") == ("True", "BuilderImagePullFailed")
    assert world.current["phase"] == "Running"


def test_a_new_spec_is_told_of_at_once_while_the_old_one_is_let_to_end():
    world = World(ib.build(concurrency="Queue"))
    world.step()
    world.pod(waiting())
    world.edit(target="other")
    world.step()
    assert "the present one is built next" in world.message("Building")


def test_a_job_that_is_not_there_after_a_restart_is_made_again_without_losing_an_attempt():
    world = World()
    world.step()
    world.jobs.clear()
    world.restarted = True
    world.settle()
    assert [one.attempt for one in world.started] == [1, 1]
    assert world.started[0].name == world.started[1].name


def test_a_job_deleted_with_its_operator_before_it_was_seen_to_run_is_not_built_twice_if_it_had_pushed():
    world = World()
    world.step()
    world.jobs.clear()
    world.restarted = True
    world.answers[questions.LostResult] = result()
    world.settle()
    assert len(world.started) == 1
    assert world.condition("Ready") == ("True", "Succeeded")
    assert len(world.tagged) == 1
    assert world.status["builds"][0]["attempts"][0]["result"] == "Succeeded"


def test_whether_a_job_that_nobody_knows_of_had_pushed_is_asked_until_its_registry_answers():
    world = World()
    world.step()
    world.jobs.clear()
    world.restarted = True
    world.answers[questions.LostResult] = FAILURE("RegistryUnavailable", "503", retryable=True)
    decision = world.settle()
    assert (len(world.started), decision.active, decision.look_again) == (1, False, 10)
    assert world.condition("Ready") == ("Unknown", "RegistryUnavailable")
    assert "may have been pushed is looked for: 503" in world.message("Building")
    world.answers[questions.LostResult] = None
    world.now += 10
    world.settle()
    assert [one.attempt for one in world.started] == [1, 1]


def test_who_may_not_look_for_what_was_pushed_builds():
    world = World()
    world.step()
    world.jobs.clear()
    world.restarted = True
    world.answers[questions.LostResult] = FAILURE("PushDenied", "no such right")
    world.settle()
    assert [one.attempt for one in world.started] == [1, 1]


@pytest.mark.parametrize("ends", ["superseded", "cancelled", "suspended"])
def test_a_result_that_was_left_behind_counts_no_more_once_nobody_wants_it(ends):
    world = World()
    world.step()
    world.jobs.clear()
    world.restarted = True
    world.answers[questions.LostResult] = result()
    if ends == "superseded":
        world.edit(target="other")
    elif ends == "suspended":
        world.edit(suspend=True)
    else:
        world.annotate(names.ANNOTATION_CANCEL, "1")
    world.settle()
    assert world.tagged == []
    assert world.condition("Ready")[0] != "True"


def test_a_build_that_ended_well_is_ready_and_tagged_and_counted_once():
    world = World()
    said = result(metrics=contract.Metrics(fetch_seconds=1.5, pushed_bytes=10, layers=2), started=ib.NOW + 1)
    world.step()
    world.now += 4
    world.succeed(said)
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")
    assert world.condition("Reconciling") is None
    assert world.condition("Building") is None
    assert world.status["digest"] == ib.DIGEST
    assert world.status["image"] == f"localhost:5000/team/web@{ib.DIGEST}"
    assert world.status["references"]["push"] == f"registry.example:5000/team/web@{ib.DIGEST}"
    assert world.status["tags"] == ["latest"]
    assert world.status["lastSuccess"]["generation"] == 1
    assert world.status["metrics"]["durationSeconds"] == 4
    assert world.status["metrics"]["podStartSeconds"] == 1
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded"]
    assert [t.tags for t in world.tagged] == [("latest",)]
    assert [(e.result, e.reason) for e in world.counted] == [("succeeded", "Succeeded")]
    job = next(iter(world.jobs.values()))
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600


def test_the_ttl_is_given_only_after_the_result_is_in_the_status():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    before = world.look()
    assert before.status is not None
    assert before.expire_jobs == (world.current["job"],)  # applied after the status, by the order of the fields


def test_a_rebuild_keeps_ready_and_says_that_it_builds():
    world = World()
    world.succeed()
    world.annotate("strata.build/rebuild", "1")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("Building") == ("True", "Building")
    assert world.condition("Reconciling") is None
    assert world.current["number"] == 2
    assert world.current["reason"] == "Rebuild"
    assert world.status["lastHandledRebuild"] == "1"


def test_a_failed_rebuild_leaves_the_image_ready():
    world = World()
    world.succeed()
    world.annotate("strata.build/rebuild", "1")
    world.settle()
    world.pod(ended(code=11, message=FAILURE("RunFailed", "exit 1")))
    world.finish(phase="Failed")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("LastBuildSucceeded") == ("False", "RunFailed")
    assert world.condition("Stalled") is None
    assert world.status["digest"] == ib.DIGEST
    assert len(world.started) == 2


def test_the_first_build_of_a_new_generation_that_fails_is_stalled_and_keeps_the_old_image():
    world = World()
    world.succeed()
    world.edit(target="other")
    world.settle()
    assert world.condition("Ready") == ("Unknown", "Building")
    world.pod(ended(code=1, message=FAILURE("DockerfileInvalid", "no", file="Dockerfile", line=3)))
    world.finish(phase="Failed")
    world.settle()
    assert world.condition("Ready") == ("False", "DockerfileInvalid")
    assert world.condition("Stalled") == ("True", "DockerfileInvalid")
    assert world.status["digest"] == ib.DIGEST
    assert world.status["lastSuccess"]["generation"] == 1


def test_suspending_an_idle_build_leaves_ready_as_it_was():
    world = World()
    world.succeed()
    world.edit(suspend=True)
    world.settle()
    assert world.condition("Suspended") == ("True", "Suspended")
    assert world.condition("Ready") == ("True", "Succeeded")
    world.annotate("strata.build/rebuild", "x")
    world.settle()
    assert len(world.started) == 1


def test_suspending_what_was_changed_back_leaves_ready_as_it_was():
    """The newest build is of a spec that failed and is wanted no more."""
    world = changed_back()
    world.edit(suspend=True)
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    world.edit(target="other")
    world.settle()
    assert world.condition("Ready") == ("Unknown", "Suspended")


def test_what_is_built_after_a_change_back_says_what_had_changed():
    world = changed_back(
        source={"git": {"url": "https://git.example/a.git", "revision": "main"}},
        triggers={"git": {"pollInterval": "1m"}},
    )
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.settle()
    assert world.current["reason"] == "CommitChanged"


def changed_back(**spec):
    world = World(body=ib.build(**spec))
    world.succeed()
    world.edit(target="broken")
    world.settle()
    world.pod(ended(code=1, message=FAILURE("DockerfileInvalid", "no stage")))
    world.finish(phase="Failed")
    world.settle()
    world.body["spec"].pop("target")
    world.edit()
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    return world


def test_suspending_ends_a_running_build_and_resuming_builds_again():
    world = World()
    world.settle()
    world.pod(running())
    world.edit(suspend=True)
    world.settle()
    assert world.jobs == {}
    assert world.current["phase"] == "Suspended"
    assert world.condition("Reconciling") is None
    world.edit(suspend=False)
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "Resumed")


def test_every_condition_carries_the_generation():
    world = World()
    world.succeed()
    world.edit(timeout="5m")
    world.settle()
    assert {c["observedGeneration"] for c in world.status["conditions"]} == {2}


# -- unchanged --


def test_looking_again_at_a_finished_build_changes_nothing_and_starts_nothing():
    world = World()
    world.succeed()
    before = world.status
    for _ in range(5):
        world.now += 700
        assert world.look().status is None
    assert world.status == before
    assert len(world.started) == 1


def test_a_new_generation_with_the_same_inputs_is_unchanged_without_a_pod():
    world = World()
    world.succeed()
    world.edit(timeout="5m", retries=1)
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    assert world.status["lastSuccess"]["generation"] == 2
    assert len(world.started) == 1
    assert [e.result for e in world.counted] == ["succeeded", "unchanged"]


def test_a_change_of_tags_alone_moves_tags_without_a_pod():
    world = World()
    world.succeed()
    world.edit(output={"registry": {"name": "main"}, "tags": ["v1", "{build}"]})
    world.settle()
    assert world.status["tags"] == ["v1", "1"]
    assert world.tagged[-1].tags == ("v1", "1")
    assert len(world.started) == 1


def test_tags_that_cannot_be_written_now_are_written_later():
    world = World()
    world.succeed()
    world.answers[questions.Tag] = FAILURE("RegistryUnavailable", "503", retryable=True)
    world.edit(output={"registry": {"name": "main"}, "tags": ["v1"]})
    world.settle()
    assert (world.condition("Ready") or ("",))[0] == "False"
    world.answers[questions.Tag] = None
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    assert world.status["tags"] == ["v1"]


@pytest.mark.parametrize("goes", ["its Registry", "the grant", "its ConfigMap"])
def test_tags_that_could_not_be_written_are_not_said_to_be_there_when_something_else_goes(goes):
    friends = {"namespaces": "Selector", "selector": {"matchLabels": {"use": "yes"}}}
    output = {"registry": {"name": "main", "namespace": "other"}}
    world = World(ib.build(source={"configMap": {"name": "files"}}, output=output))
    world.registry = there = ib.registry(namespace="other", access=friends)
    world.namespace["metadata"]["labels"]["use"] = "yes"
    world.answers[questions.ConfigMaps] = files = {"files": {"data": {"a": "1"}}}
    world.succeed()
    world.edit(output={**output, "tags": ["v2"]})
    world.answers[questions.Tag] = FAILURE("DestinationConflict", "the registry lets tags be written once only")
    world.settle()
    if goes == "its Registry":
        world.registry = None
    elif goes == "the grant":
        world.namespace["metadata"]["labels"]["use"] = "no"
    else:
        world.answers[questions.ConfigMaps] = {"files": None}
    world.settle()
    assert world.condition("Ready") == ("False", "DestinationConflict")
    assert world.condition("Stalled") == ("True", "DestinationConflict")
    world.registry = there
    world.namespace["metadata"]["labels"]["use"] = "yes"
    world.answers |= {questions.ConfigMaps: files, questions.Tag: None}
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    assert world.status["tags"] == ["v2"]


def test_an_image_that_is_gone_from_the_registry_is_built_again():
    world = World()
    world.succeed()
    world.answers[questions.Published] = False
    world.step()
    assert (world.current["number"], world.current["reason"]) == (2, "ImageLost")


def failed_lost_world(failure: contract.Failure, **spec: Any) -> World:
    """The image is gone from the registry, and the build that is begun for it fails."""
    world = World(body=ib.build(**spec))
    world.succeed()
    world.answers[questions.Published] = False
    world.now += settling.IMAGE_CHECK
    world.settle()
    world.pod(ended(code=1, message=failure))
    world.finish(phase="Failed")
    return world


@pytest.mark.parametrize("reason", ["RunFailed", "DeadlineExceeded", "InfrastructureFailed"])
def test_an_image_that_is_gone_and_cannot_be_built_is_tried_once_a_look(reason):
    world = failed_lost_world(FAILURE(reason, "no"), retries=0)
    for _ in range(3):
        world.settle()
        world.now += settling.IMAGE_CHECK / 4
    assert (world.current["phase"], world.current["reason"]) == ("Failed", "ImageLost")
    assert world.condition("LastBuildSucceeded") == ("False", reason)
    assert len(world.started) == 2
    world.now += settling.IMAGE_CHECK / 4
    world.answers[questions.Published] = lambda _asked: len(world.started) > 2
    world.succeed()
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")
    assert [job.number for job in world.started] == [1, 2, 3]


def test_an_image_that_is_gone_is_built_ever_more_rarely_until_what_keeps_it_from_that_has_healed():
    world = failed_lost_world(FAILURE("BaseImageNotFound", "no"))
    delays = []
    for _ in range(5):
        delays.append(world.settle().look_again or 0.0)
        world.now += delays[-1]
        world.settle()
        world.pod(ended(code=1, message=FAILURE("BaseImageNotFound", "no")))
        world.finish(phase="Failed")
    assert jittered(delays, [60, 120, 240, 480, 960])
    assert {job.number for job in world.started[1:]} == {2}


def lost_world() -> World:
    """A world whose image has vanished and is about to be built again."""
    world = World()
    world.succeed()
    world.answers[questions.Published] = False
    world.step()
    return world


def try_for_hours(world: World, hours: int, failure: contract.Failure) -> list[str]:
    """The reasons of the builds and attempts that were begun, all of which fail so."""
    reasons = []
    for _ in range(hours * 60):
        world.now += 60
        world.settle()
        if world.current["phase"] in ("Starting", "Running"):
            reasons.append(world.current["reason"])
            world.pod(ended(code=1, message=failure))
            world.finish(phase="Failed")
            world.settle()
    return reasons


@pytest.mark.parametrize(
    ("failure", "least", "most"),
    [
        (FAILURE("RunFailed", "exit code 1"), 3, 3),
        (FAILURE("DeadlineExceeded", "1 h"), 3, 3),
        (FAILURE("InfrastructureFailed", "the node went", retryable=True), 12, 12),
        (FAILURE("BaseImageNotFound", "debian:12"), 28, 40),
    ],
    ids=lambda value: value.reason if isinstance(value, FAILURE) else str(value),
)
def test_an_image_that_is_gone_and_cannot_be_built_is_tried_ever_more_rarely(failure, least, most):
    world = lost_world()
    reasons = try_for_hours(world, 13, failure)
    assert least <= len(reasons) <= most
    assert set(reasons) == {"ImageLost"}
    assert world.condition("LastBuildSucceeded") == ("False", failure.reason)
    world.now += settling.IMAGE_CHECK
    world.settle()
    world.answers[questions.Published] = True
    world.succeed()
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")


def test_a_build_of_an_image_that_is_gone_is_not_begun_again_once_it_was_cancelled():
    world = lost_world()
    world.annotate(names.ANNOTATION_CANCEL, "1")
    world.settle()
    world.now += 2 * settling.IMAGE_CHECK
    world.settle()
    assert (world.current["phase"], len(world.started)) == ("Cancelled", 2)


@pytest.mark.parametrize("reason", ["Rebuild", "NoCache", "Scheduled"])
@pytest.mark.parametrize("failure", ["BaseImageNotFound", "QuotaExceeded"])
def test_what_is_built_whatever_the_inputs_are_is_tried_again_where_its_failure_heals_outside(reason, failure):
    world = World(ib.build(triggers={"schedule": {"cron": "0 0 1 1 *"}} if reason == "Scheduled" else {}))
    world.succeed()
    if reason == "Scheduled":
        world.now += 366 * 86_400
    else:
        world.annotate(names.ANNOTATION_REBUILD if reason == "Rebuild" else names.ANNOTATION_NO_CACHE, "1")
    reasons = try_for_hours(world, 2, FAILURE(failure, "not there"))
    assert 7 <= len(reasons) <= 9
    assert set(reasons) == {reason}
    assert world.current["number"] == 2
    assert (world.look().look_again or 0) > 0
    world.now += 1801
    world.succeed()
    assert (world.current["phase"], world.current["number"]) == ("Succeeded", 2)


def test_a_rebuild_that_lacks_a_secret_begins_as_soon_as_that_is_there():
    world = World(ib.build(secrets=[{"id": "npm", "secretRef": {"name": "npm", "key": "token"}}]))
    world.succeed()
    world.answers[questions.Secrets] = FAILURE("ReferenceNotFound", "Secret npm does not exist")
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.settle()
    assert (world.current["phase"], world.current["result"]) == ("Failed", "ReferenceNotFound")
    assert world.look().look_again == 10
    world.answers[questions.Secrets] = None
    world.now += 10
    world.settle()
    assert (world.current["phase"], world.current["reason"]) == ("Starting", "Rebuild")


def test_a_commit_that_failed_and_was_taken_back_is_not_looked_at_for_ever_at_once():
    world = World(ib.build(source={"git": {"url": "https://git.example/a.git", "revision": "main"}},
                           triggers={"git": {"pollInterval": "5m"}}))  # fmt: skip
    world.answers[questions.Commit] = questions.Resolved("a" * 40, "refs/heads/main")
    world.succeed()
    world.answers[questions.Commit] = questions.Resolved("b" * 40, "refs/heads/main")
    assert try_for_hours(world, 1, FAILURE("BaseImageNotFound", "debian:12"))[0] == "CommitChanged"
    world.answers[questions.Commit] = questions.Resolved("a" * 40, "refs/heads/main")
    for _ in range(3):
        world.now += 1801
        world.settle()
        assert world.look().look_again is None  # polling wakes it
    assert world.current["phase"] == "Failed"


def test_an_image_that_vanishes_after_another_build_was_cancelled_is_built_again():
    world = World()
    world.succeed()
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.step()
    world.annotate(names.ANNOTATION_CANCEL, "1")
    world.settle()
    world.answers[questions.Published] = False
    world.settle()
    assert (world.current["phase"], world.current["reason"]) == ("Starting", "ImageLost")


def test_whoever_changes_the_spec_is_answered_by_what_is_in_the_registry_now():
    world = World()
    world.succeed()
    world.settle()
    world.edit(priority=7)
    world.settle()
    ages = [asked.max_age for asked in world.asked if isinstance(asked, questions.Published)]
    assert ages[-2:] == [0.0, settling.IMAGE_CHECK]
    assert len(world.started) == 1


def test_a_registry_that_does_not_answer_is_no_proof_that_the_image_is_gone():
    world = World()
    world.succeed()
    world.answers[questions.Published] = FAILURE("RegistryUnavailable", "503")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert len(world.started) == 1


def test_going_back_to_the_spec_that_was_built_is_unchanged():
    world = changed_back()
    assert len(world.started) == 2


# -- gates --


def test_a_registry_that_comes_later_is_waited_for():
    world = World(registry=None)
    world.settle()
    assert world.condition("Ready") == ("Unknown", "RegistryNotFound")
    assert world.condition("Stalled") is None
    assert world.started == []
    world.registry = ib.registry(ready=False)
    world.settle()
    assert world.condition("Ready") == ("Unknown", "RegistryNotReady")
    world.registry = ib.registry()
    world.settle()
    assert len(world.started) == 1
    assert world.current["number"] == 1


def test_a_registry_that_does_not_grant_access_stalls_until_it_does():
    world = World(registry=ib.registry(namespace="other"))
    world.body["spec"]["output"] = {"registry": {"name": "main", "namespace": "other"}}
    world.settle()
    assert world.condition("Stalled") == ("True", "AccessNotGranted")
    world.registry = ib.registry(
        namespace="other", access={"namespaces": "Selector", "selector": {"matchLabels": {"use": "yes"}}}
    )
    world.namespace["metadata"]["labels"]["use"] = "yes"
    world.settle()
    assert len(world.started) == 1
    assert world.condition("Ready") == ("Unknown", "Building")


def test_a_repository_over_255_characters_is_an_invalid_spec():
    world = World(body=ib.build(name="a" * 253))
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert "255" in world.message()
    assert world.started == []


def test_a_name_of_253_characters_works_with_a_repository_of_its_own():
    body = ib.build(name="a" * 253, output={"registry": {"name": "main"}, "repository": "team/web"})
    world = World(body=body)
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert len(world.started[0].name) <= 63


def test_a_repository_outside_the_template_is_not_granted():
    body = ib.build(output={"registry": {"name": "main"}, "repository": "other/web"})
    world = World(body=body)
    world.settle()
    assert world.condition("Stalled") == ("True", "AccessNotGranted")


def test_the_older_of_two_resources_keeps_the_tag():
    world = World()
    world.answers[questions.Rivals] = (tags.Rival("team/old", True, ("latest",)),)
    world.settle()
    assert world.condition("Stalled") == ("True", "DestinationConflict")
    assert "team/old" in world.message()
    assert world.started == []
    world.answers[questions.Rivals] = ()
    world.settle()
    assert len(world.started) == 1


def test_the_younger_of_two_resources_is_no_conflict():
    world = World()
    world.answers[questions.Rivals] = (tags.Rival("team/young", False, ("latest",)),)
    world.settle()
    assert len(world.started) == 1


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (queueing.CLUSTER, "4 builds run in the cluster"),
        (queueing.NAMESPACE, "4 builds run in namespace team"),
        (queueing.REGISTRY, "4 builds write to Registry team/main"),
    ],
)
def test_no_free_place_means_queued_with_the_position_and_whose_limit_it_is(limit, said):
    world = World()
    world.answers[questions.Slot] = queueing.Standing(3, limit, 4, 9)
    decision = world.settle()
    assert world.condition("Ready") == ("Unknown", "Queued")
    assert said in world.message()
    assert "number 3 in the queue" in world.message()
    assert (world.current["queuePosition"], world.current["queueLimit"]) == (3, limit)
    assert decision.queued
    assert world.started == []
    world.answers[questions.Slot] = None
    world.settle()
    assert len(world.started) == 1
    assert world.current["number"] == 1
    assert not world.current.keys() & {"queuePosition", "queueLimit"}


@pytest.mark.parametrize(
    ("annotation", "handled", "no_cache"),
    [(names.ANNOTATION_REBUILD, "lastHandledRebuild", False), (names.ANNOTATION_NO_CACHE, "lastHandledNoCache", True)],
)
def test_a_build_that_waits_serves_for_what_is_asked_for_meanwhile_and_one_that_runs_does_not(
    annotation, handled, no_cache
):
    world = World()
    world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    world.settle()
    world.annotate(annotation, "1")
    world.settle()
    world.answers[questions.Slot] = None
    world.succeed()
    world.settle()
    assert [job.no_cache for job in world.started] == [no_cache]
    assert world.status[handled] == "1"
    world.annotate(annotation, "2")
    world.settle()
    world.annotate(annotation, "3")
    world.succeed()
    world.settle()
    assert [job.number for job in world.started] == [1, 2, 3]


def test_a_build_that_leaves_the_queue_says_no_position_any_more():
    world = World()
    world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    world.settle()
    world.registry = ib.registry(ready=False)
    assert not world.settle().queued
    assert world.condition("Ready") == ("Unknown", "RegistryNotReady")
    assert "queuePosition" not in world.current


def test_a_queue_that_moves_writes_no_status_while_the_shown_position_is_the_same():
    world = World()
    written = set()
    for position in range(399, 300, -1):
        world.answers[questions.Slot] = queueing.Standing(position, queueing.CLUSTER, 4, 500)
        world.settle()
        written.add(str(world.status))
    assert len(written) == 1
    assert "about number 400" in world.message()


def test_a_pause_starts_nothing_is_told_and_ends_by_itself():
    world = World(paused="all builds of the cluster are paused (storage moves)")
    decision = world.settle()
    assert world.condition("Ready") == ("Unknown", "Paused")
    assert world.condition("Stalled") is None
    assert "storage moves" in world.message()
    assert not decision.queued
    assert questions.Slot not in map(type, world.asked)
    assert world.started == []
    world.paused = ""
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")


def test_a_pause_lets_a_build_that_runs_end():
    world = World()
    world.settle()
    world.paused = "all builds of the cluster are paused"
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.settle()
    assert world.condition("Building") == ("True", "Paused")
    assert world.condition("Ready") == ("True", "Succeeded")
    assert len(world.started) == 1


def test_a_missing_config_map_stalls_and_heals_as_soon_as_it_is_there():
    body = ib.build(args=[{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "versions", "key": "app"}}}])
    world = World(body=body)
    world.settle()
    assert world.condition("Stalled") == ("True", "ReferenceNotFound")
    assert "ConfigMap versions" in world.message()
    assert world.started == []
    world.answers[questions.ConfigMaps] = {"versions": {"data": {"other": "1"}}}
    world.settle()
    assert "no key app" in world.message()
    world.answers[questions.ConfigMaps] = {"versions": {"data": {"app": "1"}}}
    world.settle()
    assert world.started[0].args == (("V", "1"),)
    assert world.current["number"] == 1


def test_a_change_of_a_config_map_is_a_new_build():
    body = ib.build(source={"configMap": {"name": "site"}})
    world = World(body=body)
    world.answers[questions.ConfigMaps] = {"site": {"data": {"a": "1"}}}
    world.succeed()
    assert world.look().look_again == 60
    world.answers[questions.ConfigMaps] = {"site": {"data": {"a": "2"}}}
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "InputsChanged")


def test_a_build_that_failed_is_tried_with_what_its_config_map_says_then():
    body = ib.build(source={"configMap": {"name": "site"}})
    answers = {questions.ConfigMaps: {"site": {"data": {"a": "1"}}}}
    world = failed_world(FAILURE("RunFailed", "exit code 1"), body=body, answers=answers)
    assert world.condition("Stalled") == ("True", "RunFailed")
    assert world.look().look_again == 60
    world.answers[questions.ConfigMaps] = {"site": {"data": {"a": "2"}}}
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "InputsChanged")


def test_a_source_is_polled_after_a_failure_as_after_a_success():
    source = {"git": {"url": "https://host.example/a.git", "revision": "main"}}
    body = ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers={"git": {"pollInterval": "30s"}})
    world = failed_world(FAILURE("RunFailed", "exit code 1"), body=body)
    assert world.condition("Stalled") == ("True", "RunFailed")
    watched = world.look().watch
    assert watched is not None
    assert (watched.interval, watched.commit) == (30, ib.COMMIT)
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "CommitChanged")


@pytest.mark.parametrize(
    ("tag", "words"),
    [("{commit}", "has no value"), ("{branch}", "has no value"), ("a{build}" + "b" * 127, "no tag")],
)
def test_tags_that_can_never_be_are_found_before_anything_is_built(tag, words):
    world = World(body=ib.build(output={"registry": {"name": "main"}, "tags": [tag]}))
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert words in world.message()
    assert world.started == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (FAILURE("DockerfileInvalid", "Dockerfile:1: FRMO", file="Dockerfile", line=1), "DockerfileInvalid"),
        (True, "PodRejected"),
    ],
)
def test_what_needs_no_pod_to_fail_does_not_queue_for_one(found, reason):
    """Neither before it is told nor after, however often it is looked at while others have the places."""
    world = World(namespace=ib.namespace("restricted"))
    world.answers |= {questions.Runs: found, questions.Slot: queueing.Standing(3, queueing.CLUSTER, 4, 9)}
    for _ in range(4):
        decision = world.settle()
        assert world.condition("Ready") == ("False", reason)
        assert world.condition("Stalled") == ("True", reason)
        assert not decision.queued
        world.now += 5
    assert len(world.status["builds"]) == 1


def test_a_broken_inline_dockerfile_needs_no_pod_to_be_found():
    world = World()
    world.answers[questions.Runs] = FAILURE("DockerfileInvalid", "Dockerfile:1: FRMO", file="Dockerfile", line=1)
    world.settle()
    assert world.condition("Stalled") == ("True", "DockerfileInvalid")
    assert world.started == []
    for _ in range(3):
        world.now += 3600
        assert world.look().status is None


def test_an_invalid_spec_supersedes_what_runs():
    world = World()
    world.settle()
    world.edit(timeout="soon")
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert "spec.timeout" in world.message()
    assert world.jobs == {}


# -- isolation --


def test_auto_takes_layers_where_nothing_runs():
    world = World()
    world.settle()
    assert world.started[0].isolation == "Layers"


@pytest.mark.parametrize(
    ("level", "able", "rung"),
    [
        ("privileged", True, "UserNS"),
        ("privileged", False, "InPlace"),
        ("baseline", True, "InPlace"),
        (None, True, "UserNS"),
    ],
)
def test_auto_takes_the_strongest_rung_that_the_namespace_admits(level, able, rung):
    world = World(namespace=ib.namespace(level))
    world.answers |= {questions.Runs: True, questions.UserNamespaces: able}
    world.settle()
    assert world.started[0].isolation == rung


def test_a_refusal_by_pod_security_tries_the_next_rung():
    refusal = FAILURE("PodRejected", "violates")
    world = World()
    world.answers[questions.Runs] = True
    world.answers[questions.Admission] = lambda asked: refusal if asked.job.isolation == "UserNS" else None
    world.settle()
    assert [j.isolation for j in world.started] == ["InPlace"]


def test_a_refusal_by_quota_is_the_answer():
    world = World()
    world.answers[questions.Runs] = True
    world.answers[questions.Admission] = FAILURE("QuotaExceeded", "exceeded quota: q")
    world.settle()
    assert world.condition("Stalled") == ("True", "QuotaExceeded")
    assert world.started == []
    world.answers[questions.Admission] = None
    world.settle()
    assert len(world.started) == 1
    assert world.current["attempt"] == 1


def test_run_steps_in_a_restricted_namespace_are_rejected_naming_the_label():
    world = World(namespace=ib.namespace("restricted"))
    world.answers[questions.Runs] = True
    world.settle()
    assert world.condition("Stalled") == ("True", "PodRejected")
    assert "pod-security.kubernetes.io/enforce" in world.message()
    assert world.started == []


def test_a_layers_pod_that_finds_a_run_is_followed_by_the_right_pod_in_the_same_attempt():
    body = ib.build(dockerfile={"path": "Dockerfile"})
    world = World(body=body, namespace=ib.namespace("baseline"))
    world.succeed()
    world.body["status"]["lastSuccess"]["isolation"] = "Layers"
    world.edit(target="x")
    world.settle()
    assert world.started[-1].isolation == "Layers"
    world.pod(ended(code=10, message=FAILURE("PodRejected", "Dockerfile:2: RUN")))
    world.finish(phase="Failed")
    world.settle()
    assert [j.isolation for j in world.started[1:]] == ["Layers", "InPlace"]
    assert world.current["attempt"] == 1
    assert world.current["isolation"] == "InPlace"
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")


def test_a_layers_pod_that_finds_a_run_in_a_restricted_namespace_is_rejected_once():
    body = ib.build(dockerfile={"path": "Dockerfile"})
    world = World(body=body, namespace=ib.namespace("restricted"))
    world.settle()
    assert world.started[0].isolation == "Layers"
    world.pod(ended(code=10))
    world.finish(phase="Failed")
    world.settle()
    assert world.condition("Stalled") == ("True", "PodRejected")
    assert len(world.started) == 1
    world.namespace = ib.namespace("baseline")
    world.settle()
    assert world.started[-1].isolation == "InPlace"


def ignoring(level: str, **spec: Any) -> World:
    """A world whose first pod, of isolation UserNS, has found itself among the machine's own users."""
    world = World(body=ib.build(**spec), namespace=ib.namespace(level))
    world.answers[questions.Runs] = True
    world.settle()
    assert world.started[0].isolation == "UserNS"
    world.pod(ended("fetch", code=14, message=FAILURE("PodRejected", "own ids")), ended("build", 12), ended("push", 12))
    world.finish(phase="Failed")
    return world


def test_where_the_node_ignores_user_namespaces_auto_goes_on_in_place_in_the_same_attempt_and_remembers():
    world = ignoring("privileged")
    world.settle()
    assert [j.isolation for j in world.started] == ["UserNS", "InPlace"]
    assert (world.current["number"], world.current["attempt"]) == (1, 1)
    assert questions.Remember(questions.UserNamespaces(), answer=False) in world.asked
    decision = world.look()
    assert decision.start is None
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert [e.result for e in world.counted] == ["succeeded"]


def test_going_on_in_place_is_said_with_its_reason():
    world = ignoring("privileged")
    world.step()
    assert "node node gave the pod no user namespace although it has hostUsers: false" in world.message("Building")
    assert "(InPlace)" in world.message("Building")


@pytest.mark.parametrize(
    ("spec", "words"),
    [({"isolation": "UserNS"}, "no user namespace"), ({"network": "None"}, "give no user namespaces")],
)
def test_where_nothing_else_is_allowed_the_attempt_ends_with_the_reason(spec, words):
    world = ignoring("privileged", **spec)
    world.settle()
    assert len(world.started) == 1
    assert world.condition("Stalled") == ("True", "PodRejected")
    assert words in world.message("Stalled")
    assert "hint: " in world.message("Stalled")


def test_only_fetch_is_believed_that_there_is_no_user_namespace():
    world = World(body=ib.build(), namespace=ib.namespace("privileged"))
    world.answers[questions.Runs] = True
    world.settle()
    world.pod(ended("fetch", 12), ended("build", code=14, message=FAILURE("PodRejected", "forged")), ended("push", 12))
    world.finish(phase="Failed")
    world.settle()
    assert len(world.started) == 1
    assert not [q for q in world.asked if isinstance(q, questions.Remember)]


def in_place() -> World:
    world = World(body=ib.build(), namespace=ib.namespace("baseline"))
    world.answers[questions.Runs] = True
    return world


def test_an_api_server_without_image_volumes_gets_a_pod_with_a_copy_and_it_is_remembered():
    world = in_place()
    unknown = questions.NoImageVolumes()
    world.answers[questions.Admission] = lambda asked: None if asked.job.copied else unknown
    world.settle()
    assert [(j.isolation, j.copied) for j in world.started] == [("InPlace", True)]
    assert questions.Remember(questions.ImageVolumes(), answer=False) in world.asked


def test_what_is_known_of_image_volumes_saves_the_try():
    world = in_place()
    world.answers[questions.ImageVolumes] = False
    world.settle()
    assert [j.copied for j in world.started] == [True]
    assert [q.job.copied for q in world.asked if isinstance(q, questions.Admission)] == [True]


def test_a_node_that_cannot_mount_the_image_gets_a_copy_in_the_same_attempt():
    world = in_place()
    world.settle()
    waits = [running("fetch"), waiting("build", "CreateContainerError", "mkdir: no such file"), running("push")]
    made = world.pod(*waits)
    made["spec"]["volumes"] = [{"name": "builder", "image": {"reference": "b"}}]
    world.settle()
    assert len(world.started) == 1, "the kubelet may still manage"
    world.now += 15
    world.settle()
    assert [j.copied for j in world.started] == [False, True]
    assert len({j.name for j in world.started}) == 2
    assert world.current["attempt"] == 1
    assert "mkdir: no such file" in world.message("Building") or world.current["phase"] == "Running"


def test_where_the_chart_allows_no_copy_it_is_told():
    world = in_place()
    world.answers[questions.ImageVolumes] = True  # Always
    world.settle()
    made = world.pod(running("fetch"), waiting("build", "CreateContainerError", "mkdir"), running("push"))
    made["spec"]["volumes"] = [{"name": "builder", "image": {"reference": "b"}}]
    world.now += 15
    world.settle()
    assert len(world.started) == 1
    assert world.condition("Stalled") == ("True", "PodRejected")
    assert "builds.imageVolumes" in world.message("Stalled")


def test_isolation_layers_with_run_steps_is_an_invalid_spec():
    world = World(body=ib.build(isolation="Layers"))
    world.answers[questions.Runs] = True
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")


# -- failures by class --


@pytest.mark.parametrize("reason", sorted(contract.NO_RETRY))
def test_a_mistake_is_never_retried(reason):
    world = failed_world(FAILURE(reason, "because"))
    assert world.condition("Stalled") == ("True", reason)
    assert world.current["phase"] == "Failed"
    for _ in range(4):
        world.now += 7200
        assert world.look().status is None
    assert len(world.started) == 1
    assert world.status["builds"][0]["result"] == reason


@pytest.mark.parametrize("reason", sorted(contract.HEALS_OUTSIDE))
def test_what_heals_outside_is_checked_ever_more_rarely_and_stays_stalled(reason):
    world = failed_world(FAILURE(reason, "because"))
    world.answers[questions.Admission] = None
    delays: list[float] = []
    for count in range(1, 7):
        assert world.condition("Stalled") == ("True", reason)
        delays.append(world.look().look_again or 0)
        world.now += delays[-1]
        world.settle()
        assert len(world.started) == count + 1
        assert world.condition("Stalled") == ("True", reason)
        world.pod(ended(code=1, message=FAILURE(reason, "because")))
        world.finish(phase="Failed")
        world.settle()
    assert jittered(delays, [60, 120, 240, 480, 960, 1800])
    assert world.current["number"] == 1
    assert len(world.status["builds"]) == 1
    world.now += 1800
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")


@pytest.mark.parametrize("reason", sorted(contract.RETRIED))
def test_the_infrastructure_is_retried_as_often_as_the_spec_allows(reason):
    world = World(body=ib.build(retries=2))
    world.settle()
    delays: list[float] = []
    for _ in range(3):
        world.pod(ended(code=20, message=FAILURE(reason, "because", retryable=True)))
        world.finish(phase="Failed")
        world.settle()
        if world.current["phase"] == "Retrying":
            assert world.condition("Ready") == ("Unknown", reason)
            assert world.condition("Stalled") is None
            delays.append(world.look().look_again or 0)
            world.now += delays[-1]
            world.settle()
    assert jittered(delays, [5, 10])
    assert world.current["attempt"] == 3
    assert world.condition("Stalled") == ("True", reason)
    assert len({j.name for j in world.started}) == 3


@pytest.mark.parametrize("reason", ["RegistryUnavailable", "SourceUnavailable"])
def test_a_host_that_is_away_for_longer_than_the_retries_is_looked_at_until_it_is_back(reason):
    world = World(body=ib.build(retries=1))
    world.settle()
    times = [world.now]
    for _ in range(6):
        world.pod(ended(code=20, message=FAILURE(reason, "429", retryable=True)))
        world.finish(phase="Failed")
        world.now += world.settle().look_again or 0
        world.settle()
        times.append(world.now)
    assert jittered([later - time for time, later in itertools.pairwise(times)], [5, 60, 120, 240, 480, 960])
    assert world.condition("Stalled") == ("True", reason)
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert (world.current["number"], world.current["attempt"]) == (1, 7)


def test_a_node_that_is_lost_when_the_host_is_back_does_not_end_a_build_that_the_host_has_cost_all_retries():
    world = World(body=ib.build(retries=1))
    world.settle()
    looks = []
    for reason in ("RegistryUnavailable", "RegistryUnavailable", "InfrastructureFailed", "InfrastructureFailed"):
        world.pod(ended(code=20, message=FAILURE(reason, "no", retryable=True)))
        world.finish(phase="Failed")
        looks.append(world.settle().look_again)
        world.now += looks[-1] or 0
        world.settle()
    assert jittered([look for look in looks if look is not None], [5, 60, 120])
    assert (looks[-1], world.current["phase"]) == (None, "Failed")


def asked_again(name: str) -> World:
    """A build of an image that is there already, for its own sake: by an annotation, or by the clock."""
    world = World(body=ib.build(retries=1, triggers={"schedule": {"cron": "0 3 * * *"}} if name == "schedule" else {}))
    world.succeed()
    if name == "schedule":
        world.now += 24 * 3600
    else:
        world.annotate(name, "1")
    world.settle()
    return world


ASKED = [names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE, "schedule"]


@pytest.mark.parametrize("reason", sorted(contract.HEALS_OUTSIDE))
@pytest.mark.parametrize("name", ASKED)
def test_what_somebody_has_asked_for_and_heals_outside_is_built_once_it_has(name, reason):
    world = asked_again(name)
    failure = FAILURE(reason, "not yet")
    delays = []
    for _ in range(3):
        world.pod(ended(code=1, message=failure))
        world.finish(phase="Failed")
        delays.append(world.settle().look_again or 0.0)
        assert world.condition("LastBuildSucceeded") == ("False", reason)
        world.now += delays[-1]
        world.settle()
    assert jittered(delays, [60, 120, 240])
    world.succeed()
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")
    assert [job.number for job in world.started] == [1, 2, 2, 2, 2]
    assert len({job.no_cache for job in world.started[1:]}) == 1


def test_what_somebody_has_asked_for_and_no_pod_may_run_yet_is_built_once_it_may():
    world = World(namespace=ib.namespace("restricted"))
    world.succeed()
    world.answers[questions.Admission] = FAILURE("QuotaExceeded", "exceeded quota")
    world.annotate(names.ANNOTATION_REBUILD, "1")
    for _ in range(3):
        assert (world.settle().look_again or 0) > 0
        world.now += 4000
    world.answers[questions.Admission] = None
    world.succeed()
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")


def test_what_heals_outside_and_is_wanted_no_more_is_not_looked_at_again_and_again():
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    world = World(body=ib.build(source=source, triggers={"git": {"pollInterval": "1h"}}))
    world.succeed()
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.now += 4000
    world.settle()
    world.pod(ended(code=1, message=FAILURE("BaseImageNotFound", "no")))
    world.finish(phase="Failed")
    world.settle()
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main")
    world.now += 4000
    assert world.settle().look_again is None
    assert len(world.started) == 2


@pytest.mark.parametrize("retries", [0, 1])
def test_the_job_of_a_pod_that_nodes_evict_again_and_again_makes_no_further_one(retries):
    world = World(body=ib.build(retries=retries))
    world.settle()
    job = world.current["job"]
    for number in range(3):
        pod = world.pod(
            ended(code=137), phase="Failed", reason="Evicted", message="The node was low on resource: memory."
        )
        pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]
        world.pods[f"x{number}"] = world.pods.pop(pod["metadata"]["name"])
    world.step()
    assert world.current["result"] == "InfrastructureFailed"
    assert job not in world.jobs


def test_a_retry_does_not_start_before_its_time():
    world = failed_world(FAILURE("InfrastructureFailed", "node"))
    world.now += 1
    world.settle()
    assert len(world.started) == 1


@pytest.mark.parametrize("seconds", [60, 3600, 365 * 86_400])
def test_a_retry_does_not_wait_for_the_time_of_a_clock_that_was_set_back(seconds):
    world = failed_world(FAILURE("InfrastructureFailed", "node"))
    world.now -= seconds
    world.settle()
    assert len(world.started) == 2
    assert world.current["attempt"] == 2


@pytest.mark.parametrize("seconds", [300, 86_400])
def test_what_heals_outside_does_not_wait_for_the_time_of_a_clock_that_was_set_back(seconds):
    world = failed_world(FAILURE("PushDenied", "403"))
    world.now -= seconds
    world.settle()
    assert len(world.started) == 2


def test_a_failed_build_is_built_again_when_the_spec_changes_in_what_does_not_count():
    world = failed_world(FAILURE("OutOfMemory", "1Gi"))
    world.edit(pod={"resources": {"limits": {"memory": "4Gi"}}})
    world.settle()
    assert len(world.started) == 2
    assert world.current["number"] == 2


# -- superseding --


def test_a_spec_change_ends_the_running_pod_and_builds_the_new_spec():
    world = World()
    world.settle()
    old = world.current["job"]
    world.pod(running())
    world.edit(target="other")
    world.step()
    assert old not in world.jobs
    world.settle()
    assert (world.current["number"], world.current["generation"]) == (2, 2)
    assert world.status["builds"][0]["result"] == "Superseded"
    assert len(world.jobs) == 1


def test_the_next_build_waits_until_the_old_pod_is_gone():
    world = World()
    world.settle()
    lingering = world.pod(running())
    world.edit(target="other")
    world.step()
    world.pods[lingering["metadata"]["name"]] = lingering
    world.settle()
    assert len(world.started) == 1
    assert "ending" in world.message("Building")
    del world.pods[lingering["metadata"]["name"]]
    world.settle()
    assert len(world.started) == 2


def test_a_pod_on_a_lost_node_does_not_hold_up_the_next_build():
    world = World()
    world.settle()
    lost = world.pod(running())
    world.edit(target="other")
    world.step()
    lost["status"]["phase"] = "Unknown"
    world.pods[lost["metadata"]["name"]] = lost
    world.settle()
    assert len(world.started) == 2


def test_a_pod_that_its_node_does_not_end_holds_up_the_next_build_for_a_minute():
    """Its phase stays as the node has told it last."""
    world = World()
    world.settle()
    stays = world.pod(running())
    world.edit(target="other")
    world.step()
    stays["metadata"]["deletionTimestamp"] = conditions.rfc3339(world.now + 15)
    world.pods[stays["metadata"]["name"]] = stays
    for later, started in ((0, 1), (15 + 60, 1), (1, 2)):
        world.now += later
        world.settle()
        assert len(world.started) == started


def test_a_result_of_a_superseded_build_is_never_tagged():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    world.edit(target="other")
    world.settle()
    assert world.tagged == []
    assert world.current["number"] == 2


def test_a_spec_change_that_does_not_count_lets_the_build_go_on():
    world = World()
    world.settle()
    world.edit(retries=0, history={"succeeded": 1, "failed": 1})
    world.settle()
    assert len(world.started) == 1
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.status["lastSuccess"]["generation"] == 2


def test_a_rebuild_asked_for_during_a_build_follows_it():
    world = World()
    world.settle()
    world.annotate("strata.build/rebuild", "now")
    world.settle()
    assert len(world.started) == 1
    world.pod(ended(message=result()))
    world.finish()
    world.settle()
    assert len(world.started) == 2
    assert world.current["reason"] == "Rebuild"


def test_no_cache_is_for_one_build():
    world = World()
    world.succeed()
    world.annotate("strata.build/no-cache", "1")
    world.succeed()
    world.edit(target="x")
    world.succeed()
    assert [j.no_cache for j in world.started] == [False, True, False]
    assert world.status["lastHandledNoCache"] == "1"


def test_removing_the_annotation_builds_nothing():
    world = World()
    world.annotate("strata.build/rebuild", "1")
    world.succeed()
    world.body["metadata"]["annotations"] = {}
    world.settle()
    assert len(world.started) == 1


# -- restarts --


def test_an_operator_killed_after_the_status_and_before_the_job_makes_the_same_job():
    world = World()
    decision = world.look()
    world.body = {**world.body, "status": decision.status}
    world.now += 3
    again = world.look()
    assert again.start == decision.start
    world.settle()
    assert len(world.jobs) == 1
    assert world.current["attempt"] == 1


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("moment", ["starts", "runs"])
def test_a_build_that_was_under_way_when_it_was_backed_up_begins_anew_and_loses_no_attempt(moment, attempt, retries):
    world = World(body=ib.build(retries=retries + attempt - 1))
    world.settle()
    for _ in range(1, attempt):
        world.pod(ended(code=1, message=FAILURE("InfrastructureFailed", "gone", retryable=True)))
        world.finish(phase="Failed")
        world.settle()
        world.now += 60
        world.settle()
    if moment == "runs":
        world.pod(running())
        world.settle()
    world.jobs, world.pods, world.restarted = {}, {}, True
    world.body["metadata"] |= {"uid": "99999999-2222-3333-4444-555555555555", "generation": 1}
    world.succeed()
    tried = world.status["builds"][0]["attempts"]
    assert [each["result"] for each in tried] == ["Succeeded", *["InfrastructureFailed"] * (attempt - 1)]
    assert len({job.name for job in world.started}) == len(world.started) == attempt + 1


@pytest.mark.parametrize("ends", ["waits", "fails"])
def test_a_restored_object_that_comes_to_the_generation_of_its_backup_does_not_pass_for_built(ends):
    """Generations begin anew with the object; its Registry may be restored later than it."""
    world = World()
    world.succeed()
    world.edit(target="second")
    world.succeed()
    world.jobs, world.pods, world.restarted = {}, {}, True
    world.body["metadata"] |= {"uid": "99999999-2222-3333-4444-555555555555", "generation": 1}
    there, world.registry = world.registry, None
    world.settle()
    world.edit(target="third")
    world.settle()
    assert world.condition("Ready") == ("Unknown", "RegistryNotFound")
    assert world.condition("Reconciling") == ("True", "RegistryNotFound")
    world.registry = there
    if ends == "fails":
        world.settle()
        world.pod(ended(code=1, message=FAILURE("DockerfileInvalid", "no stage")))
        world.finish(phase="Failed")
        world.settle()
        assert world.condition("Stalled") == ("True", "DockerfileInvalid")
        assert world.condition("Ready") == ("False", "DockerfileInvalid")


def test_a_restored_object_that_is_edited_before_anybody_has_seen_it_does_not_pass_for_built():
    """Its generation is by then that of which the backup tells."""
    world = World()
    world.edit(target="second")
    world.succeed()
    world.jobs, world.pods, world.restarted = {}, {}, True
    world.body["metadata"] |= {"uid": "99999999-2222-3333-4444-555555555555", "generation": 1}
    world.edit(target="third")
    world.settle()
    assert world.condition("Ready") == ("Unknown", "Building")
    assert world.current["number"] == 2


def test_a_restored_object_whose_backup_failed_after_a_success_does_not_pass_for_built():
    world = World()
    world.succeed()
    world.edit(target="broken")
    world.settle()
    world.pod(ended(code=1, message=FAILURE("DockerfileInvalid", "no stage")))
    world.finish(phase="Failed")
    world.settle()
    world.jobs, world.pods, world.restarted = {}, {}, True
    world.body["metadata"] |= {"uid": "99999999-2222-3333-4444-555555555555", "generation": 1}
    world.settle()
    assert world.condition("Ready") == ("Unknown", "Building")
    assert world.condition("Reconciling") == ("True", "Building")


def test_an_operator_killed_after_the_tag_and_before_the_status_tags_again_and_ends_the_same():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    first, second = world.look(), world.look()
    assert first == second
    assert len(world.tagged) == 2


def test_the_spec_edited_between_the_status_and_the_job_starts_only_the_new_one():
    world = World()
    world.body = {**world.body, "status": world.look().status}
    world.edit(target="other")
    world.settle()
    assert len(world.jobs) == 1
    assert world.started[-1].generation == 2
    assert world.current["generation"] == 2


def test_a_result_read_twenty_minutes_late_still_counts():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    world.now += 1200
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")


def test_a_pod_that_vanished_after_its_push_loses_no_result():
    world = World()
    world.settle()
    world.jobs[world.current["job"]]["status"] = {"failed": 1}
    world.answers[questions.LostResult] = result()
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")


def test_a_job_that_somebody_deleted_is_an_attempt_of_the_infrastructure():
    world = World()
    world.settle()
    world.jobs.clear()
    world.settle()
    assert world.current["phase"] == "Retrying"
    world.now += 10
    world.settle()
    assert world.current["attempt"] == 2


# -- publishing --


def test_a_digest_that_the_registry_does_not_have_is_no_success():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    world.answers[questions.Published] = False
    world.settle()
    assert world.current["phase"] == "Retrying"
    assert world.tagged == []


def test_a_registry_that_is_down_when_the_tags_are_due_costs_no_attempt():
    world = World()
    world.settle()
    world.pod(ended(message=result()))
    world.finish()
    world.answers[questions.Tag] = FAILURE("RegistryUnavailable", "503", retryable=True)
    decision = world.settle()
    assert world.condition("Ready") == ("Unknown", "RegistryUnavailable")
    assert decision.look_again == 10
    assert not decision.active, "a registry that is away keeps no places from builds for others"
    world.answers[questions.Tag] = None
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.current["attempt"] == 1


def test_no_tags_is_no_tagging():
    world = World(body=ib.build(output={"registry": {"name": "main"}, "tags": []}))
    world.succeed()
    assert world.tagged == []
    assert world.condition("Ready") == ("True", "Succeeded")


# -- git --


def git_world(**git: Any) -> World:
    source = {"git": {"url": "https://host.example/a.git", "revision": "main"} | git}
    return World(body=ib.build(source=source, dockerfile={"path": "Dockerfile"}))


def test_the_commit_is_resolved_before_a_build_and_is_in_the_tags():
    world = git_world()
    world.body["spec"]["output"] = {"registry": {"name": "main"}, "tags": ["{branch}-{shortCommit}"]}
    world.succeed()
    assert world.started[0].commit == ib.COMMIT
    assert world.status["source"]["commit"] == ib.COMMIT
    assert world.status["tags"] == [f"main-{ib.COMMIT[:12]}"]


def test_a_new_commit_is_built_only_if_the_source_is_polled():
    world = git_world()
    world.succeed()
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.settle()
    assert len(world.started) == 1
    world.edit(triggers={"git": {"pollInterval": "30s"}})
    world.settle()
    assert len(world.started) == 2


def test_polling_builds_a_new_commit_and_looks_again_in_time():
    world = git_world()
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}}
    world.succeed()
    watched = world.look().watch
    assert watched is not None
    assert (watched.interval, watched.commit) == (30, ib.COMMIT)
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "CommitChanged")


def test_the_status_says_when_the_source_was_last_looked_up_and_no_later_time_for_an_answer_of_before():
    world = git_world()
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}}
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main", ib.NOW)
    world.succeed()
    assert world.status["lastCheckedTime"] == "2027-01-15T08:00:00.000Z"
    world.now += 10
    assert world.look().status is None
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main", ib.NOW + 30)
    world.now += 20
    world.settle()
    assert world.status["lastCheckedTime"] == "2027-01-15T08:00:30.000Z"
    assert world.condition("Ready") == ("True", "Succeeded")
    world.answers[questions.Commit] = FAILURE("SourceUnavailable", "away")
    world.settle()
    assert world.status["lastCheckedTime"] == "2027-01-15T08:00:30.000Z"
    world.now -= 3600  # a clock that is set back
    world.answers[questions.Polled] = questions.Resolved(ib.COMMIT, "refs/heads/main", world.now)
    world.settle()
    assert world.status["lastCheckedTime"] == "2027-01-15T07:00:30.000Z"


def test_the_names_of_an_image_follow_its_registry():
    world = World()
    world.succeed()
    endpoints = world.registry["status"]["endpoints"]
    del endpoints["node"]
    world.settle()
    assert world.status["image"] == f"registry.example:5000/team/web@{ib.DIGEST}"
    assert world.status["references"] == {"push": world.status["image"]}
    endpoints |= {"node": "localhost:5001"}
    world.settle()
    assert world.status["image"] == f"localhost:5001/team/web@{ib.DIGEST}"
    assert len(world.started) == 1
    world.registry["status"]["conditions"][0]["status"] = "False"
    endpoints.clear()
    world.settle()
    assert world.status["image"] == f"localhost:5001/team/web@{ib.DIGEST}"


def test_a_poll_that_fails_says_so_and_leaves_the_image():
    world = git_world()
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}}
    world.succeed()
    world.answers[questions.Commit] = FAILURE("SourceAuthFailed", "401")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("Polling") == ("False", "SourceAuthFailed")
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main")
    world.settle()
    assert world.condition("Polling") is None


@pytest.mark.parametrize("reason", ["ReferenceNotFound", "SourceAuthFailed", "SourceNotFound"])
def test_a_source_that_is_wrong_fails_without_a_pod_and_heals(reason):
    world = git_world()
    world.answers[questions.Commit] = FAILURE(reason, "no branch")
    world.settle()
    assert world.condition("Stalled") == ("True", reason)
    assert world.started == []
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT)
    world.now += 61
    world.settle()
    assert len(world.started) == 1
    assert world.current["number"] == 1


def test_a_private_source_that_the_operator_may_not_see_is_resolved_by_the_pod():
    world = git_world(secretRef={"name": "git"})
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.body["spec"]["output"] = {"registry": {"name": "main"}, "tags": ["{shortCommit}"]}
    world.succeed(result(source=contract.SourceResult(commit="e" * 40)))
    assert world.started[0].commit == ""
    assert world.status["tags"] == ["e" * 12]
    assert world.status["source"]["commit"] == "e" * 40
    world.settle()
    assert len(world.started) == 1


def test_a_private_source_is_resolved_by_the_pod_of_a_second_attempt_too():
    world = git_world(secretRef={"name": "git"})
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.body["spec"]["output"] = {"registry": {"name": "main"}, "tags": ["{shortCommit}"]}
    world.settle()
    world.pod(ended(code=20, message=FAILURE("InfrastructureFailed", "the disk was away", retryable=True)))
    world.finish(phase="Failed")
    world.now += world.settle().look_again or 0.0
    world.step()
    assert world.current["phase"] == "Starting"
    world.pods.clear()
    world.succeed(result(source=contract.SourceResult(commit="e" * 40)))
    assert [(job.attempt, job.commit) for job in world.started] == [(1, ""), (2, "")]
    assert world.status["tags"] == ["e" * 12]
    assert [one.reason for one in world.counted] == ["InfrastructureFailed", "Succeeded"]


def test_a_private_source_that_is_polled_without_the_binding_shows_the_command():
    world = git_world(secretRef={"name": "git"})
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}}
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.succeed()
    assert world.condition("Polling") == ("False", "AccessNotGranted")
    assert "kubectl create rolebinding" in world.message("Polling")
    assert world.condition("Ready") == ("True", "Succeeded")


@pytest.mark.parametrize("poll", [True, False], ids=["polled", "looked up for a new spec"])
def test_a_source_that_the_operator_comes_to_see_is_built_again_only_if_it_has_moved(poll):
    world = git_world(secretRef={"name": "git"})
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}} if poll else {}
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.succeed(result(source=contract.SourceResult(commit="e" * 40)))
    for commit, number in (("e" * 40, 1), ("f" * 40, 2)):
        world.answers[questions.Commit] = questions.Resolved(commit, "refs/heads/main")
        if not poll:
            world.edit(priority=number)
        world.settle()
        assert world.condition("Polling") is None
        assert (len(world.started), world.current["commit"]) == (number, commit)
    assert world.current["reason"] == ("CommitChanged" if poll else "SpecChanged")


def test_a_commit_that_came_before_the_operator_could_see_is_built_once_it_can():
    world = git_world(secretRef={"name": "git"})
    world.body["spec"]["triggers"] = {"git": {"pollInterval": "30s"}}
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.succeed(result(source=contract.SourceResult(commit="e" * 40)))
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "CommitChanged")


def test_what_else_has_changed_is_built_when_the_operator_comes_to_see_the_source():
    world = git_world(secretRef={"name": "git"})
    world.answers[questions.Commit] = questions.Unseen("kubectl create rolebinding …")
    world.succeed(result(source=contract.SourceResult(commit="e" * 40)))
    world.answers[questions.Commit] = questions.Resolved("e" * 40, "refs/heads/main")
    world.edit(target="other")
    world.settle()
    assert (world.current["number"], world.current["reason"]) == (2, "SpecChanged")


def test_a_full_commit_is_never_looked_up():
    world = git_world(revision=ib.COMMIT)
    world.succeed()
    assert not [q for q in world.asked if isinstance(q, questions.Commit)]


# -- deletion and tidying --


def test_deletion_ends_the_job_and_begins_nothing():
    world = World()
    world.settle()
    world.body["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
    decision = world.step()
    assert world.jobs == {}
    assert decision.status is None
    assert decision.start is None


def test_in_a_namespace_that_is_being_deleted_nothing_is_begun_and_nothing_is_a_failure():
    world = World()
    world.settle()
    world.namespace["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
    world.pods.clear()
    decision = world.look()
    assert (decision.status, decision.start, decision.ended) == (None, None, ())
    assert len(decision.end_jobs) == 1


def test_config_maps_go_when_no_build_needs_them():
    world = World()
    world.settle()
    world.config_maps = [{"metadata": {"name": "sib-web-request-1", "uid": "c1"}}]
    world.jobs[world.current["job"]]["metadata"]["annotations"]["strata.build/config-maps"] = "sib-web-request-1"
    assert world.look().drop_config_maps == ()
    world.succeed()
    assert [ref.name for ref in world.look().drop_config_maps] == ["sib-web-request-1"]


def test_history_keeps_as_many_as_the_spec_says():
    world = World(body=ib.build(history={"succeeded": 2, "failed": 1}))
    for n in range(5):
        world.annotate("strata.build/rebuild", str(n))
        world.succeed()
    assert [b["number"] for b in world.status["builds"]] == [5, 4]


def test_a_pod_that_waits_for_its_image_is_reconciling_never_stalled():
    world = World()
    world.settle()
    world.pod(waiting(reason="ImagePullBackOff", message="Back-off"), phase="Pending")
    world.now += 600
    world.settle()
    assert world.condition("Ready") == ("Unknown", "BuilderImagePullFailed")
    assert world.condition("Stalled") is None


def test_a_failure_with_a_place_says_the_place():
    world = failed_world(FAILURE("RunFailed", "RUN ended with 3", file="Dockerfile", line=7, hint="see the log"))
    assert world.message() == "Dockerfile:7: RUN ended with 3\nhint: see the log"


def test_a_superseded_build_and_the_failure_of_the_next_one_are_both_counted():
    world = World()
    world.settle()
    world.answers[questions.Runs] = FAILURE("DockerfileInvalid", "no")
    world.edit(target="other")
    world.step()
    world.settle()
    assert [(e.result, e.reason) for e in world.counted] == [
        ("cancelled", "Superseded"),
        ("failed", "DockerfileInvalid"),
    ]


# -- polling --


def polled_world(**spec: Any) -> World:
    """An image built from git that is polled."""
    world = git_world()
    world.body["spec"] |= {"triggers": {"git": {"pollInterval": "30s"}}} | spec
    world.succeed()
    return world


def test_an_idle_image_asks_nobody_and_says_what_is_to_be_polled():
    world = polled_world()
    world.asked.clear()
    watched = world.look().watch
    assert not any(isinstance(question, questions.Commit) for question in world.asked)
    assert watched is not None
    assert (watched.revision, watched.commit, watched.fails) == ("main", ib.COMMIT, False)


def test_nothing_is_polled_that_could_start_nothing():
    suspended = polled_world()
    suspended.edit(suspend=True)
    going = polled_world()
    going.body["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    fixed = polled_world(source={"git": {"url": "https://host.example/a.git", "revision": "c" * 40}})
    invalid = polled_world()
    invalid.edit(source={"git": {"url": "https://host.example/a.git", "path": "../x"}})
    for world in (suspended, going, fixed, invalid, World()):
        assert world.look().watch is None


def test_polling_that_fails_is_said_beside_the_image_until_it_succeeds():
    world = polled_world()
    world.answers[questions.Polled] = FAILURE("SourceUnavailable", "host.example answered 429")
    world.settle()
    assert world.condition("Polling") == ("False", "SourceUnavailable")
    assert world.condition("Ready") == ("True", "Succeeded")
    watched = world.look().watch
    assert watched is not None
    assert watched.fails
    world.answers[questions.Polled] = None  # a restarted operator has not polled yet
    world.settle()
    assert world.condition("Polling") == ("False", "SourceUnavailable")
    world.answers[questions.Polled] = questions.Resolved(ib.COMMIT, "refs/heads/main", ib.NOW + 60)
    world.settle()
    assert world.condition("Polling") is None
    assert len(world.started) == 1


def test_a_restarted_operator_that_has_not_polled_yet_builds_nothing():
    world = polled_world()
    world.answers[questions.Polled] = None
    assert world.look().status is None


def test_a_commit_that_comes_while_a_build_runs_is_built_after_it_and_only_the_newest():
    world = polled_world()
    world.answers[questions.Commit] = questions.Resolved("d" * 40, "refs/heads/main")
    world.settle()
    world.pod(running())
    for commit in ("e" * 40, "f" * 40):
        world.answers[questions.Commit] = questions.Resolved(commit, "refs/heads/main")
        world.settle()
    assert len(world.started) == 2
    world.pods.clear()
    world.succeed()
    world.succeed()
    assert [job.commit for job in world.started] == [ib.COMMIT, "d" * 40, "f" * 40]


def test_a_branch_that_is_put_back_with_an_edit_while_that_is_built_leaves_nothing_to_do():
    world = git_world()
    world.succeed()
    world.answers[questions.Commit] = questions.Resolved("d" * 40, "refs/heads/main")
    world.edit(target="other")
    world.settle()
    assert world.started[-1].commit == "d" * 40
    del world.answers[questions.Commit]
    world.edit(target="")
    world.settle()
    assert (world.current["number"], world.current["phase"]) == (2, "Superseded")
    assert world.condition("Ready") == ("True", "Unchanged")


def test_a_commit_that_is_taken_back_while_its_build_waits_is_not_remembered_after_a_restart():
    world = polled_world()
    world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    world.answers[questions.Commit] = questions.Resolved("d" * 40, "refs/heads/main")
    world.settle()
    assert world.current["commit"] == "d" * 40
    del world.answers[questions.Commit]
    world.settle()
    world.answers[questions.Polled] = None
    world.settle()
    assert (world.current["number"], world.current["phase"], len(world.started)) == (2, "Superseded", 1)


def test_a_build_waits_for_a_host_that_is_left_alone_and_loses_no_attempt():
    world = git_world()
    world.answers[questions.Commit] = questions.Later(42.0, "host.example answered 503")
    decision = world.settle()
    assert decision.look_again == 42
    assert world.condition("Reconciling") == ("True", "SourceUnavailable")
    assert world.current["phase"] == "Pending"
    for _ in range(5):
        world.now += 42
        world.settle()
    world.answers.pop(questions.Commit)
    world.succeed()
    assert (world.current["number"], world.current["attempt"]) == (1, 1)


def test_a_build_whose_source_could_not_be_asked_is_made_of_the_commit_that_is_there_when_it_can():
    world = git_world()
    world.edit(output={"registry": {"name": "main"}, "tags": ["{commit}"]})
    world.answers[questions.Commit] = FAILURE("SourceUnavailable", "host.example answered 503", retryable=True)
    delays = []
    for _ in range(2):
        delays.append(world.settle().look_again or 0.0)
        assert world.condition("Reconciling") == ("True", "SourceUnavailable")
        world.now += delays[-1]
    assert jittered(delays, [5, 10])
    world.answers.pop(questions.Commit)
    world.succeed()
    assert [job.commit for job in world.started] == [ib.COMMIT]
    assert (world.current["number"], world.current["attempt"], world.status["tags"]) == (1, 1, [ib.COMMIT])


@pytest.mark.parametrize(("late", "age"), [(0.5, 0.0), (30.0, 28.0)])
def test_many_that_are_applied_together_are_served_by_a_look_since_then(late, age):
    world = git_world()
    world.now = ib.NOW - 60 + late  # it was made a minute before
    world.look()
    assert [q.max_age for q in world.asked if isinstance(q, questions.Commit)] == [age]
    world.annotate("strata.build/rebuild", "1")
    world.asked.clear()
    world.look()
    assert [q.max_age for q in world.asked if isinstance(q, questions.Commit)] == [0.0]
