"""Base images that a failed build has met, or has not found: when they move, it is built again, once."""

from typing import Any

import pytest

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import questions, state, status
from strata_operator.imagebuild.triggers import bases
from support import imagebuilds as ib

D1, D2, D3, D4 = (f"sha256:{letter * 64}" for letter in "1234")
TRIGGERS = {"baseImages": {"pollInterval": "1h"}}
GIT = {"git": {"url": "https://git.example/a.git", "revision": "main"}}


def stands(**digests: str) -> bases.Seen:
    return bases.Seen({name: bases.Found(digest, "sha256:top") for name, digest in digests.items()})


def fail(world: ib.World, reason: str = "RunFailed", **met: str) -> None:
    """The build that runs fails in its pod, which tells the bases that it has met."""
    told = tuple(contract.BaseImage(*one) for one in met.items())
    world.settle()
    world.pod(ib.ended(code=1, message=contract.Failure(reason, "no", base_images=told)))
    world.finish(phase="Failed")
    world.settle()


def asked(world: ib.World) -> Any:
    return [one for one in world.asked if isinstance(one, questions.BaseImages)][-1].recorded


def built(**used: str) -> ib.World:
    world = ib.World(ib.build(triggers=TRIGGERS))
    world.succeed(ib.result(base_images=tuple(contract.BaseImage(*one) for one in used.items())))
    return world


def broken(reason: str = "RunFailed", **met: str) -> ib.World:
    """Built on D1; the build that D2 has started has failed."""
    world = built(debian=D1)
    world.answers[questions.BaseImages] = stands(debian=D2)
    fail(world, reason, **met)
    return world


def test_a_first_build_that_a_base_has_broken_is_built_once_when_it_is_mended():
    world = ib.World(ib.build(triggers=TRIGGERS))
    fail(world, debian=D1)
    assert world.current["usedBaseImages"] == [{"name": "debian", "digest": D1}]
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.settle()
    assert len(world.started) == 1
    world.answers[questions.BaseImages] = stands(debian=D2)
    world.settle()
    assert (len(world.started), world.current["reason"]) == (2, "BaseImageChanged")
    assert world.current["baseImages"] == [{"name": "debian", "digest": D2, "previous": D1}]
    fail(world, debian=D2)
    world.now += 86_400
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.succeed(ib.result(base_images=(contract.BaseImage("debian", D3),)))
    world.settle()
    assert (len(world.started), world.current["phase"]) == (3, "Succeeded")
    assert "usedBaseImages" not in world.current


def test_after_an_edit_that_failed_its_own_bases_count_and_those_before_do_not():
    world = built(a=D1)
    world.answers[questions.BaseImages] = stands(a=D1, b=D1)
    world.edit(labels={"from": "b"})
    fail(world, b=D1)
    assert asked(world) == (("b", frozenset({D1})),)
    world.answers[questions.BaseImages] = stands(a=D2, b=D1)
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(a=D2, b=D2)
    world.settle()
    assert len(world.started) == 3
    assert {base["name"]: base["digest"] for base in world.current["baseImages"]}["b"] == D2
    fail(world, b=D2)
    assert len(world.started) == 3


def test_after_an_edit_that_failed_and_was_taken_back_the_bases_of_the_image_count():
    world = built(a=D1)
    world.answers[questions.BaseImages] = stands(a=D1, b=D1)
    before = world.body["spec"]
    world.edit(labels={"from": "b"})
    fail(world, b=D1)
    world.edit()
    world.body["spec"] = {**before}
    world.body["spec"].pop("labels", None)
    world.settle()
    assert world.condition("Ready") == ("True", "Unchanged")
    assert asked(world) == (("a", frozenset({D1})),)
    world.answers[questions.BaseImages] = stands(a=D1, b=D2)
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(a=D2, b=D2)
    world.settle()
    assert len(world.started) == 3


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_a_base_that_had_moved_when_an_edit_was_built_is_built_on_once_the_edit_is_taken_back(ends):
    world = built(a=D1)
    before = world.body["spec"]
    world.answers[questions.BaseImages] = stands(a=D2)
    world.edit(labels={"from": "b"})
    if ends == "fails":
        fail(world, a=D2)
    else:
        world.settle()
        world.annotate(names.ANNOTATION_CANCEL, "1")
        world.settle()
    world.edit()
    world.body["spec"] = {**before}
    world.settle()
    assert (len(world.started), world.current["reason"]) == (3, "BaseImageChanged")
    fail(world, a=D2)
    world.settle()
    assert len(world.started) == 3


@pytest.mark.parametrize("source", [{}, {"source": GIT, "dockerfile": {"path": "Dockerfile"}}], ids=["files", "git"])
def test_a_base_that_was_not_found_is_built_on_when_it_is_there_and_not_in_a_loop(source: dict[str, Any]):
    world = ib.World(ib.build(triggers=TRIGGERS, **source))
    fail(world, "BaseImageNotFound", debian="")
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.settle()
    assert (len(world.started), world.current["reason"]) == (2, "BaseImageChanged")
    assert world.current["baseImages"] == [{"name": "debian", "digest": D1}]
    assert f"base image debian, which was not found, is now {D1}" in world.message("Building")
    fail(world, "BaseImageNotFound", debian="")  # its own registry does not have it
    assert len(world.started) == 2
    world.now = conditions.unix(world.current["nextTime"])
    world.settle()
    assert (len(world.started), world.current["number"], world.current["attempt"]) == (3, 2, 2)


@pytest.mark.parametrize("met", ["", D2], ids=["the base", "a layer of it"])
def test_a_build_that_lacked_its_base_goes_on_in_its_time_though_nobody_has_seen_that_since(met):
    world = broken("BaseImageNotFound", debian=met)
    world.answers[questions.BaseImages] = bases.Seen()
    world.now = conditions.unix(world.current["nextTime"])
    world.settle()
    assert (len(world.started), world.current["number"]) == (3, 2)


@pytest.mark.parametrize("polled", [True, False])
def test_a_build_that_a_base_has_started_and_that_has_a_newer_commit_tells_of_that_commits_bases(polled):
    triggers = TRIGGERS | ({"git": {"pollInterval": "1h"}} if polled else {})
    world = ib.World(ib.build(source=GIT, dockerfile={"path": "Dockerfile"}, triggers=triggers))
    fail(world, a=D1)
    world.answers |= {
        questions.BaseImages: stands(a=D2, b=D1),
        questions.Polled: questions.Resolved(ib.COMMIT, "refs/heads/main"),
        questions.Commit: questions.Resolved("d" * 40, "refs/heads/main"),
    }
    world.settle()
    assert world.current["reason"] == "BaseImageChanged"
    world.answers.pop(questions.Polled)
    fail(world, b=D1)
    assert [job.commit[0] for job in world.started] == ["0", "d"]
    assert world.current["usedBaseImages"] == [{"name": "b", "digest": D1}]
    world.answers[questions.BaseImages] = stands(a=D2, b=D2)
    world.settle()
    assert len(world.started) == 3


@pytest.mark.parametrize("first", [True, False])
def test_a_build_that_lacked_its_base_and_was_cancelled_is_built_when_that_is_there(first):
    world = ib.World(ib.build(triggers=TRIGGERS)) if first else built(a=D1)
    world.edit(labels={"from": "b"})
    fail(world, "BaseImageNotFound", b="")
    world.annotate(names.ANNOTATION_CANCEL, "1")
    world.settle()
    world.now += 86_400
    world.answers[questions.BaseImages] = stands(a=D2)
    world.settle()
    begun = len(world.started)
    assert world.current["phase"] == "Cancelled"
    world.answers[questions.BaseImages] = stands(a=D2, b=D1)
    world.settle()
    assert (len(world.started), world.current["reason"]) == (begun + 1, "BaseImageChanged")


def test_a_build_that_was_killed_is_known_by_what_the_one_before_it_has_told():
    world = ib.World(ib.build(triggers=TRIGGERS))
    fail(world, debian=D1)
    world.answers[questions.BaseImages] = stands(debian=D2)
    fail(world, "OutOfMemory")
    world.settle()
    assert len(world.started) == 2
    world.answers[questions.BaseImages] = stands(debian=D3)
    world.settle()
    assert len(world.started) == 3


def test_a_layer_that_was_not_there_is_looked_for_again_though_the_base_has_not_moved():
    world = broken("BaseImageNotFound", debian=D2)
    assert len(world.started) == 2
    world.now = conditions.unix(world.current["nextTime"])
    world.settle()
    assert (len(world.started), world.current["number"]) == (3, 2)


def test_a_registry_that_answers_the_builder_otherwise_starts_no_second_build_of_a_failure():
    world = built(debian=D1)
    world.answers[questions.BaseImages] = stands(debian=D2)
    for builds, met in ((2, D1), (3, D3)):
        fail(world, debian=met)
        world.settle()
        assert len(world.started) == builds
        world.answers[questions.BaseImages] = stands(debian=D4)
        world.settle()
    assert len(world.started) == 3


def test_a_step_that_tells_of_other_bases_each_time_has_itself_built_no_second_time():
    world = ib.World(ib.build(triggers=TRIGGERS))
    world.answers[questions.BaseImages] = stands(**{f"n{number}": D2 for number in range(9)})
    world.settle()
    for number in range(9):
        if world.current["phase"] in state.ACTIVE:
            fail(world, **{f"n{number}": D1})
            world.settle()
    assert len(world.started) == 2


def test_what_a_step_says_it_has_not_found_is_not_waited_for():
    world = ib.World(ib.build(triggers=TRIGGERS))
    world.settle()
    told = contract.Failure("RunFailed", "no", base_images=(contract.BaseImage("debian", ""),))
    world.pod(ib.running("fetch"), ib.ended("build", code=contract.ExitCode.RUN_FAILED, message=told))
    world.finish(phase="Failed")
    world.settle()
    assert world.current["phase"] == "Failed"
    assert "usedBaseImages" not in world.current


def test_a_base_that_was_taken_back_after_it_had_broken_a_build_is_built_on():
    world = broken(debian=D2)
    world.answers[questions.BaseImages] = stands(debian=D1)
    world.settle()
    assert len(world.started) == 3
    fail(world, debian=D1)
    assert len(world.started) == 3


def test_what_a_failure_tells_is_not_believed_where_it_is_no_base():
    world = ib.World(ib.build(triggers=TRIGGERS))
    world.settle()
    said = ["debian", "team/UPPER", "", "x" * 600, f"debian@{D1}"]
    told = (*(contract.BaseImage(name, D1) for name in said), contract.BaseImage("fedora", "rm -rf"))
    world.pod(ib.ended(code=1, message=contract.encode(contract.Failure("RunFailed", "no", base_images=told))))
    world.finish(phase="Failed")
    world.settle()
    assert world.current["usedBaseImages"] == [{"name": "debian", "digest": D1}]


def test_what_a_failure_told_survives_in_the_status_and_leaves_it_when_there_is_no_room():
    used = tuple(contract.BaseImage("x" * 490 + str(number), D1) for number in range(32))
    now = state.State(current=state.Current(1, phase=state.FAILED, used_base_images=used))
    written = state.write(now)
    assert state.read(written).current == now.current
    fitted = status.fit({**written, "conditions": []})
    assert 0 < len(fitted["current"]["usedBaseImages"]) < 32
    assert len(written["current"]["usedBaseImages"]) == 32


def test_what_a_build_remembers_of_bases_fits_its_status():
    used = {f"n{number}": D1 for number in range(32)}
    world = built(**used)
    other = {f"m{number}": D1 for number in range(32)}
    world.edit(labels={"a": "b"})
    world.answers[questions.BaseImages] = stands(**used)
    told = tuple(contract.BaseImage(*one) for one in other.items())
    world.settle()
    world.pod(ib.ended(code=1, message=contract.encode(contract.Failure("RunFailed", "no", base_images=told))))
    world.finish(phase="Failed")
    world.settle()
    world.answers[questions.BaseImages] = stands(**dict.fromkeys([*used, *other], D2))
    world.settle()
    assert [base["name"] for base in world.current["baseImages"]] == sorted(other)
