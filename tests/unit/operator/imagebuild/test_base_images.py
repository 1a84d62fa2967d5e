"""Which base images start a build, and which do not: decisions in a small world."""

import copy
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import questions, state
from strata_operator.imagebuild.triggers import bases
from support import imagebuilds as ib

D1, D2, D3, P1, P2 = (f"sha256:{letter * 64}" for letter in "123ab")
OTHER = f"sha256:{'c' * 64}"
RUN_FAILED = contract.Failure("RunFailed", "step 2 ended with 1")


def stands(**digests: str) -> bases.Seen:
    """Known: name=digest; an index of amd64 and one other platform."""
    return bases.Seen({name: bases.Found(digest, "sha256:top", frozenset({OTHER})) for name, digest in digests.items()})


def built(*used: tuple[str, str], interval: str | None = "1h", **spec: Any) -> ib.World:
    """A world in which an image was built on these bases."""
    triggers = {"triggers": {"baseImages": {"pollInterval": interval}}} if interval else {}
    world = ib.World(ib.build(**triggers, **spec))
    world.succeed(ib.result(base_images=tuple(contract.BaseImage(*base) for base in used or [("debian", D1)])))
    assert len(world.started) == 1
    return world


def fail(world: ib.World, failure: contract.Failure = RUN_FAILED, code: int = 11) -> None:
    """The build that runs fails in its pod."""
    world.settle()
    world.pod(ib.ended(code=code, message=failure))
    world.finish(phase="Failed")
    world.settle()


def test_a_base_that_moved_starts_one_build_that_says_what_moved():
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.step()
    assert (world.current["number"], world.current["reason"]) == (2, "BaseImageChanged")
    assert world.current["baseImages"] == [{"name": "debian", "digest": D2, "previous": D1}]
    assert f"base image debian moved from {D1} to {D2}" in world.message("Building")
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D2),)))
    assert [b["reason"] for b in world.status["builds"]] == ["BaseImageChanged", "SpecChanged"]
    assert world.status["builds"][0]["message"] == f"base image debian moved from {D1} to {D2}"
    world.settle()
    assert len(world.started) == 2


def test_several_bases_that_moved_at_once_are_one_build():
    used = [(name, D1) for name in ("alpine", "debian", "fedora", "golang", "python")]
    world = built(*used)
    world.answers[questions.BaseImages] = stands(
        **dict.fromkeys(("alpine", "debian", "fedora", "golang"), D2), python=D1
    )
    world.step()
    assert world.message("Building").endswith(f"base image fedora moved from {D1} to {D2}; and so did 1 more")
    world.succeed(ib.result(base_images=tuple(contract.BaseImage(n, D2 if n != "python" else D1) for n, _ in used)))
    world.settle()
    assert len(world.started) == 2
    assert [base["name"] for base in world.current["baseImages"]] == ["alpine", "debian", "fedora", "golang"]
    assert len(world.status["builds"][0]["message"]) == 300


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(stands(debian=D1), id="the same manifest in whatever index"),
        pytest.param(stands(), id="nothing is known yet"),
        pytest.param(bases.Seen({"debian": bases.Found(D2, "t", frozenset({D1}))}), id="used for another platform"),
        pytest.param(
            bases.Seen({"debian": bases.Found("", "t", frozenset({OTHER}))}), id="no longer for this platform"
        ),
        pytest.param(stands(python=P2), id="another image"),
        pytest.param(bases.Seen(stands(debian=D2).found, held=True), id="before its turn"),
    ],
)
def test_nothing_is_built_for(seen):
    world = built()
    world.answers[questions.BaseImages] = seen
    world.settle()
    assert len(world.started) == 1
    assert world.condition("Ready") == ("True", "Succeeded")


def test_without_the_trigger_nobody_asks():
    world = built(interval=None)
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    assert len(world.started) == 1
    assert not [q for q in world.asked if isinstance(q, questions.BaseImages)]


def test_a_name_by_digest_is_not_asked_for_and_one_used_twice_is_asked_for_once():
    world = built((f"debian@{D1}", D1), ("python:3", P1), ("python:3", P2), interval="90m")
    world.look()
    asked = [q for q in world.asked if isinstance(q, questions.BaseImages)][-1]
    assert asked == questions.BaseImages((("python:3", frozenset({P1, P2})),), (), 5400)
    world = built((f"debian@{D1}", D1))
    assert not [q for q in world.asked if isinstance(q, questions.BaseImages)]


def test_a_base_used_for_two_platforms_moves_when_either_does():
    world = built(("python", P1), ("python", OTHER))
    world.answers[questions.BaseImages] = bases.Seen({"python": bases.Found(P1, "t", frozenset({OTHER}))})
    world.settle()
    assert len(world.started) == 1
    world.answers[questions.BaseImages] = bases.Seen({"python": bases.Found(P1, "t", frozenset({D3}))})
    world.settle()
    assert len(world.started) == 2


def test_turning_the_trigger_on_builds_on_what_moved_before_and_else_nothing():
    world = built(interval=None)
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.edit(triggers={"baseImages": {"pollInterval": "1h"}})
    world.settle()
    assert len(world.started) == 1
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    assert world.current["reason"] == "BaseImageChanged"


def test_a_build_that_fails_is_not_repeated_until_a_base_moves_again():
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    fail(world)
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.condition("LastBuildSucceeded") == ("False", "RunFailed")
    for _ in range(3):
        world.now += 86_400
        world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.settle()
    assert len(world.started) == 3
    assert world.current["baseImages"] == [{"name": "debian", "digest": D3, "previous": D1}]


def test_what_was_tried_is_remembered_while_a_registry_is_away():
    world = built(("debian", D1), ("python", P1))
    world.answers[questions.BaseImages] = stands(debian=D2, python=P2)
    fail(world)
    world.answers[questions.BaseImages] = stands(debian=D2)  # a new operator, that has not seen python yet
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(debian=D2, python=P1)  # python was taken back: not tried yet
    world.settle()
    assert len(world.started) == 3


def test_a_registry_that_answers_the_builder_otherwise_than_the_operator_starts_no_second_build():
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))  # a mirror that lags
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.settle()
    assert len(world.started) == 3


def test_a_base_that_moved_on_while_it_was_built_and_comes_back_is_built_again():
    world = built()

    def build() -> None:
        world.answers[questions.BaseImages] = stands(debian=D2)
        world.settle()
        world.answers[questions.BaseImages] = bases.Seen()  # until it is looked at anew
        world.succeed(ib.result(base_images=(contract.BaseImage("debian", D3),)))

    build()
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.settle()
    assert len(world.started) == 2
    build()
    assert len(world.started) == 3
    assert world.current["baseImages"] == [{"name": "debian", "digest": D2, "previous": D3}]
    world.answers[questions.BaseImages] = stands(debian=D2)  # a registry that answers the builder otherwise
    world.settle()
    assert len(world.started) == 3


@pytest.mark.parametrize("interval", ["1h", None])
def test_a_result_that_was_found_in_the_registry_says_no_bases_and_serves_only_who_follows_none(interval):
    world = built(interval=interval)
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.settle()
    world.jobs[world.current["job"]]["status"] = {"failed": 1}  # its pod has vanished
    world.answers[questions.LostResult] = ib.result()
    world.settle()
    assert world.current["phase"] == ("Retrying" if interval else "Succeeded")
    assert bool(world.status.get("baseImages")) == bool(interval)  # of the build before: they are followed on


def test_a_failure_that_heals_outside_is_looked_at_again_ever_more_rarely():
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    fail(world, contract.Failure("BaseImageNotFound", "gone"), code=1)
    assert len(world.started) == 2
    due = conditions.unix(world.current["nextTime"])
    world.now = due - 1
    world.settle()
    assert len(world.started) == 2
    world.now = due
    world.settle()
    assert len(world.started) == 3
    assert (world.current["number"], world.current["attempt"]) == (2, 2)


@pytest.mark.parametrize("way", ["suspended", "edited"])
def test_a_build_that_was_ended_on_its_way_is_begun_again(way):
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    spec = copy.deepcopy(world.body["spec"])
    if way == "suspended":
        world.edit(suspend=True)
        world.settle()
        world.edit(suspend=False)
    else:
        world.edit(labels={"a": "b"})
        world.step()
        world.jobs.clear()
        world.edit(labels={})
        world.body["spec"] = spec
    world.settle()
    assert world.current["phase"] in state.ACTIVE
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D2),)))
    assert world.status["baseImages"] == [{"name": "debian", "digest": D2}]
    world.settle()
    assert world.current["phase"] == "Succeeded"


def test_a_new_spec_that_failed_is_tried_once_more_on_a_base_that_moved():
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.edit(labels={"v": "2"})
    fail(world)
    assert world.condition("Stalled") == ("True", "RunFailed")
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    assert (len(world.started), world.current["reason"]) == (3, "BaseImageChanged")
    fail(world)
    world.settle()
    assert len(world.started) == 3
    assert world.condition("Stalled") == ("True", "RunFailed")


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_a_base_that_moved_is_tried_with_each_commit_once(ends):
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    triggers = {"git": {"pollInterval": "30s"}, "baseImages": {"pollInterval": "1h"}}
    world = ib.World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))
    world.answers[questions.BaseImages] = stands(debian=D2)
    fail(world)
    for commit in ("d" * 40, "e" * 40):
        world.answers[questions.Commit] = questions.Resolved(commit, "refs/heads/main")
        world.settle()
        if ends == "fails":
            fail(world)
        else:
            world.annotate(names.ANNOTATION_CANCEL, commit)
        world.settle()
    assert [job.commit[0] for job in world.started] == ["0", "0", "d", "e"]
    assert world.current["reason"] == "CommitChanged"
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.settle()
    assert world.current["reason"] == "BaseImageChanged"


@pytest.mark.parametrize("polled", [True, False])
def test_a_build_on_a_base_that_moved_has_the_commit_that_nobody_has_seen_yet(polled):
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    triggers = {"baseImages": {"pollInterval": "1h"}} | ({"git": {"pollInterval": "1h"}} if polled else {})
    world = ib.World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))
    world.answers |= {
        questions.BaseImages: stands(debian=D2),
        questions.Polled: questions.Resolved(ib.COMMIT, "refs/heads/main"),
        questions.Commit: questions.Resolved("d" * 40, "refs/heads/main"),
    }
    world.settle()
    assert world.current["reason"] == "BaseImageChanged"
    world.answers.pop(questions.Polled)  # a build of another commit has begun: what was found before is forgotten
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D2),)))
    world.settle()
    assert [job.commit[0] for job in world.started] == ["0", "d"]


def test_a_base_that_moves_while_a_commit_waits_is_tried_with_that_and_met_by_no_success_that_does_not_say_so():
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    triggers = {"git": {"pollInterval": "30s"}, "baseImages": {"pollInterval": "1h"}}
    world = ib.World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))
    world.paused = "a while"
    world.answers[questions.Commit] = questions.Resolved("d" * 40, "refs/heads/main")
    world.settle()
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    assert world.current["baseImages"] == [{"name": "debian", "digest": D2, "previous": D1}]
    world.paused = ""
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))  # a mirror that lags
    world.settle()
    assert (len(world.started), world.current["reason"]) == (3, "BaseImageChanged")


def test_an_image_that_is_gone_is_told_as_gone():
    world = built()
    world.answers |= {questions.BaseImages: stands(debian=D2), questions.Published: False}
    world.step()
    assert world.current["reason"] == "ImageLost"


def test_an_image_that_is_gone_and_fails_on_a_base_that_moved_is_tried_once():
    world = built()
    world.answers |= {questions.BaseImages: stands(debian=D2), questions.Published: False}
    world.settle()
    reasons = []
    for _ in range(10):
        if world.current["phase"] in ("Starting", "Running"):
            reasons.append(world.current["reason"])
            fail(world)
        world.now += 60
        world.settle()
    assert reasons == ["ImageLost"]


@pytest.mark.parametrize("held", [False, True])
def test_a_base_that_moved_back_after_its_build_had_failed_is_not_looked_at_for_ever_at_once(held):
    world = built()
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    world.pod(ib.ended(code=1, message=contract.Failure("BaseImageNotFound", "debian:12")))
    world.finish(phase="Failed")
    world.settle()
    world.answers[questions.BaseImages] = bases.Seen(stands(debian=D1).found, held=held)
    world.now += 1801
    world.settle()
    assert len(world.started) == 2
    assert world.look().look_again is None or world.look().look_again >= 60


def test_a_base_that_cannot_be_seen_is_told_beside_the_image_and_forgotten_when_it_can():
    world = built()
    world.answers[questions.BaseImages] = bases.Seen(problem=("AccessNotGranted", "kubectl create rolebinding"))
    world.settle()
    assert world.condition("Polling") == ("False", "AccessNotGranted")
    assert world.condition("Ready") == ("True", "Succeeded")
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.settle()
    assert world.condition("Polling") is None


def test_a_source_and_a_base_that_cannot_be_seen_are_told_together_and_do_not_take_turns():
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    triggers = {"git": {"pollInterval": "30s"}, "baseImages": {"pollInterval": "1h"}}
    world = ib.World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))
    world.answers[questions.Commit] = contract.Failure("SourceAuthFailed", "401")
    world.answers[questions.BaseImages] = bases.Seen(problem=("RegistryUnavailable", "no answer"))
    world.settle()
    assert world.condition("Polling") == ("False", "SourceAuthFailed")
    assert world.message("Polling") == "401\nno answer"


def test_when_bases_were_checked_is_written_once_an_hour():
    world = built()
    times = []
    for passed in range(0, 7200, 600):
        seen = stands(debian=D1)
        world.answers[questions.BaseImages] = bases.Seen(seen.found, checked=ib.NOW + passed)
        world.now = ib.NOW + passed
        world.settle()
        times.append(world.status["lastCheckedTime"])
    assert len(set(times)) == 2
    assert conditions.unix(times[-1]) == ib.NOW + 3600


def test_when_bases_were_checked_is_written_anew_where_a_clock_that_was_set_back_had_written_it():
    world = built()
    world.answers[questions.BaseImages] = bases.Seen(stands(debian=D1).found, checked=ib.NOW)
    world.settle()
    world.now = ib.NOW - 86_400
    world.answers[questions.BaseImages] = bases.Seen(stands(debian=D1).found, checked=world.now - 1)
    world.settle()
    assert conditions.unix(world.status["lastCheckedTime"]) == world.now - 1


def test_where_a_source_is_polled_the_time_is_that_of_the_source():
    source = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
    triggers = {"git": {"pollInterval": "30s"}, "baseImages": {"pollInterval": "1h"}}
    world = ib.World(ib.build(source=source, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    world.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main", ib.NOW)
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D1),)))
    world.answers[questions.BaseImages] = bases.Seen(stands(debian=D1).found, checked=ib.NOW + 7200)
    world.settle()
    assert conditions.unix(world.status["lastCheckedTime"]) == ib.NOW


# -- the order of chains --


def test_a_build_waits_for_the_one_that_makes_its_base_without_a_place():
    world = built(("registry/team/base", P1), ("debian", D1))
    world.answers |= {
        questions.BaseImages: stands(**{"debian": D2, "registry/team/base": P1}),
        questions.Ahead: names.Key("team", "base"),
    }
    decision = world.settle()
    assert world.condition("Building") == ("True", "WaitingForBaseImage")
    assert "ImageBuild team/base" in world.message("Building")
    assert (len(world.started), decision.queued, decision.active) == (1, False, False)
    assert not [q for q in world.asked if isinstance(q, questions.Slot)][1:]
    world.answers[questions.Ahead] = None
    world.settle()
    assert len(world.started) == 2


def test_who_has_waited_for_a_base_says_so_and_a_build_for_another_reason_meets_what_waits_for_its_turn():
    world = built()
    world.answers |= {questions.BaseImages: stands(debian=D2), questions.Ahead: names.Key("team", "base")}
    world.settle()
    assert [asked.waited for asked in world.asked if isinstance(asked, questions.Ahead)] == [False, True]
    world = built()
    world.answers[questions.BaseImages] = bases.Seen(stands(debian=D2).found, held=True)
    world.annotate(names.ANNOTATION_REBUILD, "1")
    world.step()
    assert world.current["reason"] == "Rebuild"
    assert world.current["baseImages"] == [{"name": "debian", "digest": D2, "previous": D1}]


def test_the_wait_for_a_base_has_an_end():
    world = built()
    world.answers |= {questions.BaseImages: stands(debian=D2), questions.Ahead: names.Key("team", "base")}
    world.settle()
    world.now += bases.LONGEST_WAIT - 1
    world.settle()
    assert len(world.started) == 1
    world.now += 1
    world.settle()
    assert len(world.started) == 2


@pytest.mark.parametrize("change", [{"labels": {"a": "b"}}, None])
def test_only_builds_that_bases_started_wait_for_bases(change):
    world = built()
    world.answers[questions.Ahead] = names.Key("team", "base")
    world.edit(**change) if change else world.annotate(names.ANNOTATION_REBUILD, "1")
    world.settle()
    assert len(world.started) == 2
