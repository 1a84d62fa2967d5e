"""How builds end by order, and what a change of the spec does to one that runs: as decisions in a small world."""

import pytest

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import inputs, questions, queueing, spec
from support import imagebuilds as ib
from support.imagebuilds import NOW, World, ended, result, running

CANCEL = names.ANNOTATION_CANCEL
OTHER = {"labels": {"v": "2"}}
FULL = queueing.Standing(3, queueing.CLUSTER, 4, 9)


# -- cancel --


def test_a_running_build_is_cancelled_once():
    world = World()
    world.settle()
    world.annotate(CANCEL, "1")
    decision = world.step()
    assert [ref.name for ref in decision.end_jobs] == [world.started[0].name]
    world.settle()
    assert world.current["phase"] == world.current["result"] == "Cancelled"
    assert world.condition("LastBuildSucceeded") == ("False", "Cancelled")
    assert world.condition("Stalled") == ("True", "Cancelled")
    assert world.condition("Ready") == ("False", "Cancelled")
    assert "strata.build/rebuild" in world.message()
    assert world.status["lastHandledCancel"] == "1"
    assert [(b["number"], b["result"]) for b in world.status["builds"]] == [(1, "Cancelled")]
    assert [(e.result, e.reason) for e in world.counted] == [("cancelled", "Cancelled")]
    for _ in range(3):
        world.now += 4000
        assert world.settle().look_again is None
    assert len(world.started) == 1


def test_a_waiting_build_is_cancelled_and_leaves_the_queue():
    world = World()
    world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    world.settle()
    world.annotate(CANCEL, "1")
    assert not world.settle().queued
    assert world.current["phase"] == "Cancelled"
    assert [b["result"] for b in world.status["builds"]] == ["Cancelled"]
    world.answers[questions.Slot] = None
    world.settle()
    assert world.started == []


def test_a_build_that_waited_through_a_change_is_cancelled_for_the_present_spec():
    world = World()
    world.answers[questions.Slot] = FULL
    world.settle()
    world.edit(**OTHER)
    world.settle()
    world.annotate(CANCEL, "1")
    world.settle()
    asked = len(world.asked)
    assert world.current["fields"] == inputs.fields(spec.parse(world.body))
    world.now += 4000
    world.answers[questions.Slot] = None
    world.settle()
    assert world.started == []
    assert world.condition("Ready") == ("False", "Cancelled")
    assert len(world.asked) == asked, "nothing is to be found out any more"


def test_what_is_tried_again_after_a_failure_is_cancelled_too():
    world = World(namespace=ib.namespace("restricted"))
    world.answers[questions.Admission] = contract.Failure("QuotaExceeded", "exceeded quota: q")
    world.settle()
    assert world.condition("Stalled") == ("True", "QuotaExceeded")
    world.annotate(CANCEL, "1")
    world.settle()
    world.answers[questions.Admission] = None
    world.now += 4000
    world.settle()
    assert world.started == []
    assert world.condition("Stalled") == ("True", "Cancelled")


def test_between_two_attempts_a_build_is_cancelled():
    world = World()
    world.settle()
    world.pod(ended(code=1, message=contract.Failure("InfrastructureFailed", "gone", retryable=True)))
    world.settle()
    assert world.current["phase"] == "Retrying"
    world.annotate(CANCEL, "1")
    world.settle()
    world.now += 4000
    world.settle()
    assert world.current["phase"] == "Cancelled"
    assert len(world.started) == 1


@pytest.mark.parametrize("how", ["rebuild", "spec", "commit"])
def test_a_cancelled_build_is_built_when_something_changes_or_somebody_asks(how):
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    world = World(body=ib.build(source=source, triggers={"git": {"pollInterval": "1m"}}))
    world.settle()
    world.annotate(CANCEL, "1")
    world.settle()
    if how == "rebuild":
        world.annotate(names.ANNOTATION_REBUILD, "1")
    elif how == "spec":
        world.edit(**OTHER)
    else:
        world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
        world.now += 100
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.current["number"] == 2
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded", "Cancelled"]


@pytest.mark.parametrize("waits_for", ["its git host", "its git host after a failure", "its Registry"])
@pytest.mark.parametrize("built", [True, False])
def test_a_build_cancelled_before_its_commit_was_known_is_followed_by_that_of_the_next(waits_for, built):
    source = {"git": {"url": "https://host.example/a.git", "revision": "main"}}
    triggers = {"git": {"pollInterval": "30s"}}
    world = World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    if built:
        world.succeed()
        world.edit(labels={"a": "b"})
    begun = len(world.started)
    world.answers |= {questions.Polled: None, questions.Commit: questions.Later(42.0, "host.example answered 503")}
    if waits_for == "its git host after a failure":
        failure = contract.Failure("SourceUnavailable", "host.example answered 503", retryable=True)
        world.answers[questions.Commit] = failure
    if waits_for == "its Registry":
        world.registry = None
    world.settle()
    world.annotate(names.ANNOTATION_CANCEL, "1")
    world.settle()
    world.registry = ib.registry()
    world.settle()
    del world.answers[questions.Polled], world.answers[questions.Commit]  # the first poll finds what it was of
    world.settle()
    assert (world.current["phase"], len(world.started)) == ("Cancelled", begun)
    world.answers[questions.Commit] = questions.Resolved("d" * 40, "refs/heads/main")
    world.settle()
    assert world.current["reason"] == "CommitChanged"
    assert [job.commit for job in world.started[begun:]] == ["d" * 40]


def test_a_cancelled_rebuild_leaves_the_image_ready():
    world = World()
    world.succeed()
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.settle()
    world.annotate(CANCEL, "1")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("LastBuildSucceeded") == ("False", "Cancelled")
    assert world.condition("Stalled") is None
    assert len(world.started) == 2
    assert world.status["digest"] == ib.DIGEST


@pytest.mark.parametrize("reason", [names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE])
@pytest.mark.parametrize("begun", [True, False])
def test_what_was_asked_for_and_suspended_is_not_built_once_it_was_cancelled(reason, begun):
    world = World()
    world.succeed()
    world.answers[questions.Slot] = None if begun else FULL
    world.annotate(reason, "1")
    world.settle()
    world.edit(suspend=True)
    world.settle()
    world.annotate(CANCEL, "1")
    world.settle()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("Suspended") == ("True", "Suspended")
    assert world.current["phase"] == "Cancelled"
    world.answers[questions.Slot] = None
    world.edit(suspend=False)
    world.settle()
    assert len(world.started) == (2 if begun else 1)
    assert world.condition("LastBuildSucceeded") == ("False", "Cancelled")
    assert [b["result"] for b in world.status["builds"]] == ["Cancelled", "Succeeded"]
    assert [e.result for e in world.counted if e.result != "unchanged"] == ["succeeded", "cancelled"]
    world.annotate(reason, "2")
    world.succeed()
    assert world.current["number"] == 3


def test_a_cancel_with_nothing_to_end_is_noted_and_ends_nothing_later():
    world = World()
    world.annotate(CANCEL, "from the manifest")
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.status["lastHandledCancel"] == "from the manifest"
    world.annotate(CANCEL, "2")
    world.settle()
    assert world.status["lastHandledCancel"] == "2"
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.succeed()
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded", "Succeeded"]


def test_cancel_and_change_in_one_apply_end_the_old_build_and_begin_the_new():
    world = World()
    world.settle()
    world.annotate(CANCEL, "1")
    world.edit(**OTHER)
    world.succeed()
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded", "Cancelled"]
    assert world.condition("Ready") == ("True", "Succeeded")


# -- suspend --


def test_suspend_ends_a_build_starts_none_and_resumes():
    world = World()
    world.settle()
    world.edit(suspend=True)
    world.settle()
    assert world.jobs == {}
    assert world.condition("Suspended") == ("True", "Suspended")
    assert world.condition("Ready") == ("Unknown", "Suspended")
    world.now += 4000
    world.settle()
    assert len(world.started) == 1
    world.edit(suspend=False)
    world.succeed()
    assert world.current["reason"] == "Resumed"
    assert world.condition("Suspended") is None
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded", "Suspended"]


def suspended_and_resumed(world: World) -> None:
    world.edit(suspend=True)
    world.settle()
    world.edit(suspend=False)


def changed_and_changed_back(world: World) -> None:
    world.edit(**OTHER)
    world.settle()
    world.edit(labels={})


def invalid_for_a_while(world: World) -> None:
    world.edit(timeout="soon")
    world.settle()
    world.edit(timeout="1h")


def without_its_registry(world: World) -> None:
    there, world.registry = world.registry, None
    changed_and_changed_back(world)
    world.settle()
    world.registry = there


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", ["waits", "runs", "is between two attempts"])
@pytest.mark.parametrize("name", [names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE, "schedule"])
@pytest.mark.parametrize(
    "order", [suspended_and_resumed, changed_and_changed_back, invalid_for_a_while, without_its_registry]
)
def test_what_was_asked_for_is_built_after_all_where_an_order_has_ended_it(order, name, moment, times):
    world = World(body=ib.build(triggers={"schedule": {"cron": "0 3 * * *"}} if name == "schedule" else {}))
    world.succeed()
    if moment == "waits":
        world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    if name == "schedule":
        world.now += 24 * 3600
    else:
        world.annotate(name, "1")
    world.settle()
    if moment == "is between two attempts":
        world.pod(ended(code=1, message=contract.Failure("InfrastructureFailed", "gone", retryable=True)))
        world.settle()
    for _ in range(times):
        order(world)
        world.settle()
    world.answers[questions.Slot] = None
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.started[-1].no_cache == (name != names.ANNOTATION_REBUILD)
    assert world.status["lastSuccess"]["number"] == world.started[-1].number > 1
    before = len(world.started)
    order(world)
    world.settle()
    assert [job.no_cache for job in world.started[before:]] in ([], [False])  # once is enough


@pytest.mark.parametrize("moment", ["waits", "runs"])
@pytest.mark.parametrize("name", [names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE, "schedule"])
def test_what_a_waiting_build_was_to_serve_for_too_is_built_where_that_build_is_taken_back(name, moment):
    world = World(body=ib.build(triggers={"schedule": {"cron": "0 3 * * *"}} if name == "schedule" else {}))
    world.succeed()
    world.answers[questions.Slot] = FULL
    world.edit(**OTHER)
    world.settle()
    if name == "schedule":
        world.now += 24 * 3600
    else:
        world.annotate(name, "1")
    world.settle()
    if moment == "waits":
        world.edit(suspend=True)
        world.settle()
    world.answers[questions.Slot] = None
    world.settle()
    before = len(world.started)
    world.edit(labels={}, suspend=False)
    world.succeed()
    world.settle()
    assert [job.no_cache for job in world.started[before:]] == [name != names.ANNOTATION_REBUILD]
    assert world.condition("LastBuildSucceeded") == ("True", "Succeeded")


def without_registry(world: World) -> None:
    world.registry = None


def host_is_away(world: World) -> None:
    world.answers[questions.Commit] = questions.Later(30.0, "the host is away")


def no_place_is_free(world: World) -> None:
    world.answers[questions.Slot] = FULL


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("keeps_waiting", [without_registry, host_is_away, no_place_is_free])
@pytest.mark.parametrize("change", [OTHER, {"retries": 1}])
def test_a_build_that_has_waited_and_is_needless_by_now_is_not_begun(change, keeps_waiting, suspended):
    world = World(body=ib.build(source={"git": {"url": "https://git.example/a.git", "revision": "main"}}))
    world.succeed()
    there = world.registry
    keeps_waiting(world)
    world.edit(**change)
    world.settle()
    world.edit(labels={}, suspend=suspended)
    world.settle()
    world.registry = there
    world.answers.clear()
    world.edit(suspend=False)
    for _ in range(3):
        world.settle()
        world.now += 4000
    assert world.condition("Ready") == ("True", "Unchanged")
    assert world.current["phase"] not in ("Pending", "Starting")
    assert len(world.started) == 1
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.succeed()
    assert len(world.started) == 2


# -- concurrency --


def queued_world(**spec: object) -> World:
    world = World(body=ib.build(concurrency="Queue", **spec))
    world.settle()
    world.pod(running())
    return world


def test_a_change_supersedes_a_running_build():
    world = World()
    world.settle()
    world.edit(**OTHER)
    world.settle()
    assert [job.generation for job in world.started] == [1, 2]
    assert [b["result"] for b in world.status["builds"]] == ["Superseded"]


@pytest.mark.parametrize("pods", [True, False])
def test_a_change_takes_the_place_of_the_build_that_it_supersedes_also_before_that_has_a_pod(pods):
    world = World()
    world.settle()
    if pods:
        world.pod(running())
    world.edit(labels={"a": "b"})
    decision = world.step()
    assert (decision.active, decision.queued, decision.follows) == (False, False, True)
    world.jobs.clear()
    world.pods.clear()
    assert world.step().active


def test_with_queue_a_running_build_ends_with_its_tags_and_the_newest_spec_follows():
    world = queued_world()
    for version in "23":
        world.edit(labels={"v": version})
        world.settle()
    assert len(world.started) == 1
    assert world.condition("Ready") == ("Unknown", "Building")
    assert "older spec" in world.message()
    world.pod(ended(message=result()))
    world.finish()
    assert world.step().look_again == 0
    assert [tag.tags for tag in world.tagged] == [("latest",)]
    assert world.condition("Ready") == ("Unknown", "Building")
    assert world.status["lastSuccess"]["generation"] == 1
    assert world.status["digest"] == ib.DIGEST
    world.settle()
    assert [job.generation for job in world.started] == [1, 3]
    assert world.current["reason"] == "SpecChanged"
    newer = "sha256:" + "cd" * 32
    world.succeed(result(newer))
    assert world.condition("Ready") == ("True", "Succeeded")
    assert (world.status["lastSuccess"]["generation"], world.status["digest"]) == (3, newer)
    assert [b["result"] for b in world.status["builds"]] == ["Succeeded", "Succeeded"]


@pytest.mark.parametrize("reason", ["RunFailed", "InfrastructureFailed", "SourceNotFound"])
def test_with_queue_a_failure_of_the_older_spec_is_history_and_not_tried_again(reason):
    world = queued_world()
    world.edit(**OTHER)
    world.pod(ended(code=1, message=contract.Failure(reason, "no", retryable=True)))
    world.finish(phase="Failed")
    world.settle()
    assert [job.generation for job in world.started] == [1, 2]
    assert world.condition("Stalled") is None
    assert [b["result"] for b in world.status["builds"]] == [reason]
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")


def test_with_queue_a_changed_git_source_is_asked_for_its_commit_when_its_turn_has_come():
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    world = queued_world(source=source)
    world.edit(source={"git": {"url": "https://git.example/b.git", "revision": "main"}})
    world.answers[questions.Commit] = questions.Resolved("f" * 40, "refs/heads/main")
    world.pod(ended(message=result()))
    world.finish()
    world.settle()
    assert [job.commit for job in world.started] == [ib.COMMIT, "f" * 40]


@pytest.mark.parametrize(
    "output", [{"registry": {"name": "other"}}, {"registry": {"name": "main"}, "repository": "team/b"}]
)
def test_with_queue_a_build_that_goes_elsewhere_now_is_superseded(output):
    world = queued_world()
    world.registry = ib.registry(name=output["registry"]["name"], access={"repositoryTemplate": "{namespace}/{name}"})
    world.edit(output=output)
    world.settle()
    assert [b["result"] for b in world.status["builds"]] == ["Superseded"]
    assert len(world.started) == 2


def test_with_queue_a_pod_that_would_have_to_be_made_anew_is_superseded():
    world = queued_world()
    world.edit(**OTHER)
    world.pod(ended(code=contract.ExitCode.NEEDS_SANDBOX))
    world.finish(phase="Failed")
    world.settle()
    assert [b["result"] for b in world.status["builds"]] == ["Superseded"]
    assert [job.generation for job in world.started] == [1, 2]


def test_with_queue_a_change_back_builds_nothing_further():
    world = queued_world()
    world.edit(**OTHER)
    world.settle()
    world.edit(labels={})
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert len(world.started) == 1
    assert world.status["lastSuccess"]["generation"] == 3


def test_with_queue_suspend_and_cancel_end_it_all_the_same():
    for order in ("suspend", "cancel"):
        world = queued_world()
        world.edit(**OTHER)
        world.settle()
        world.edit(suspend=True) if order == "suspend" else world.annotate(CANCEL, "1")
        world.settle()
        assert world.started[0].name not in world.jobs
        assert world.status["builds"][-1]["result"] == {"suspend": "Suspended", "cancel": "Cancelled"}[order]
        assert len(world.started) == {"suspend": 1, "cancel": 2}[order]


def test_times_of_a_cancelled_build_are_told():
    world = World()
    world.settle()
    world.now = NOW + 30
    world.annotate(CANCEL, "1")
    world.settle()
    assert world.current["completionTime"] > world.current["startTime"]
