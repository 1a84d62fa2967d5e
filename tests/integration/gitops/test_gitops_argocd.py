"""What Argo CD shows of ImageBuilds and Registries, in every state that the operator can leave them in."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hack import argocd

from strata_builder import contract
from strata_operator import conditions
from strata_operator.imagebuild import questions, queueing, status, tags
from strata_operator.registry import decide as registry_decide
from support import gitops
from support import imagebuilds as ib
from support.imagebuilds import World

HEALTH = gitops.ARGOCD / "ImageBuild/health.lua"
ACTIONS = gitops.ARGOCD / "ImageBuild/actions"


def fresh() -> World:
    return World()


def waiting_for_its_registry() -> World:
    world = World(registry=None)
    world.settle()
    return world


def queued() -> World:
    world = World()
    world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    world.settle()
    return world


def running() -> World:
    world = World()
    world.settle()
    world.pod(ib.running())
    world.settle()
    return world


def retrying() -> World:
    world = running()
    world.pods.clear()
    world.pod(ib.ended(code=20, message=contract.Failure("InfrastructureFailed", "the node went away", retryable=True)))
    world.settle()
    return world


def pushed() -> World:
    world = World()
    world.succeed()
    return world


def pushed_and_edited_without_effect() -> World:
    world = pushed()
    world.edit(retries=7)
    world.settle()
    return world


def edited_and_not_looked_at() -> World:
    world = pushed()
    world.edit(target="other")
    return world


def edited_and_running() -> World:
    world = edited_and_not_looked_at()
    world.settle()
    return world


def rebuilding() -> World:
    world = pushed()
    world.annotate("strata.build/rebuild", "now")
    world.settle()
    return world


def failed() -> World:
    world = World()
    world.settle()
    world.pod(ib.ended(code=11, message=contract.Failure("RunFailed", "the step ended with code 7", line=2)))
    world.finish(phase="Failed")
    world.settle()
    return world


def rebuild_failed() -> World:
    world = rebuilding()
    world.pod(ib.ended(code=11, message=contract.Failure("RunFailed", "the step ended with code 7", line=2)))
    world.finish(phase="Failed")
    world.settle()
    return world


def new_generation_failed() -> World:
    world = edited_and_running()
    world.pod(ib.ended(code=11, message=contract.Failure("RunFailed", "the step ended with code 7", line=2)))
    world.finish(phase="Failed")
    world.settle()
    return world


def cancelled() -> World:
    world = running()
    world.annotate("strata.build/cancel", "now")
    world.settle()
    return world


def invalid() -> World:
    world = World(body=ib.build(timeout="1 fortnight"))
    world.settle()
    return world


def in_conflict() -> World:
    world = World()
    world.answers[questions.Rivals] = (tags.Rival("team/old", True, ("latest",)),)
    world.settle()
    return world


def a_reference_is_missing() -> World:
    args = [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "versions", "key": "app"}}}]
    world = World(body=ib.build(args=args))
    world.settle()
    return world


def looked_at_again_after_a_failure_that_heals_outside() -> World:
    world = World()
    world.settle()
    world.pod(ib.ended(code=1, message=contract.Failure("BaseImageNotFound", "no such image")))
    world.finish(phase="Failed")
    world.settle()
    world.now += 120
    world.settle()
    return world


def suspended_before_it_was_built() -> World:
    world = World(body=ib.build(suspend=True))
    world.settle()
    return world


def suspended_when_built() -> World:
    world = pushed()
    world.edit(suspend=True)
    world.settle()
    return world


def suspended_after_a_failure() -> World:
    world = failed()
    world.edit(suspend=True)
    world.settle()
    return world


def resumed() -> World:
    world = suspended_when_built()
    world.edit(suspend=False)
    world.settle()
    return world


def not_to_be_watched() -> World:
    git = {"git": {"url": "https://git.example/app.git", "revision": "main"}}
    world = World(body=ib.build(source=git, triggers={"git": {"pollInterval": "5m"}}))
    world.succeed()
    world.answers[questions.Commit] = contract.Failure("SourceAuthFailed", "the server refuses the password")
    world.now += 600
    world.settle()
    return world


STATES: dict[Callable[[], World], tuple[str, str, str]] = {
    fresh: ("Progressing", "InProgress", "not looked"),
    waiting_for_its_registry: ("Progressing", "InProgress", "RegistryNotFound"),
    queued: ("Progressing", "InProgress", "Queued"),
    running: ("Progressing", "InProgress", "Building"),
    retrying: ("Progressing", "InProgress", "the node went away"),
    pushed: ("Healthy", "Current", "Succeeded"),
    pushed_and_edited_without_effect: ("Healthy", "Current", "Unchanged"),
    edited_and_not_looked_at: ("Progressing", "InProgress", "not looked"),
    edited_and_running: ("Progressing", "InProgress", "Building"),
    rebuilding: ("Healthy", "Current", "built again"),
    failed: ("Degraded", "Failed", "the step ended with code 7"),
    rebuild_failed: ("Healthy", "Current", "the newest build failed: RunFailed"),
    new_generation_failed: ("Degraded", "Failed", "RunFailed"),
    cancelled: ("Degraded", "Failed", "Cancelled"),
    invalid: ("Degraded", "Failed", "InvalidSpec"),
    in_conflict: ("Degraded", "Failed", "DestinationConflict"),
    a_reference_is_missing: ("Degraded", "Failed", "ReferenceNotFound"),
    looked_at_again_after_a_failure_that_heals_outside: ("Degraded", "Failed", "BaseImageNotFound"),
    suspended_before_it_was_built: ("Suspended", "InProgress", "spec.suspend"),
    suspended_when_built: ("Suspended", "Current", "spec.suspend"),
    suspended_after_a_failure: ("Suspended", "InProgress", "spec.suspend"),
    resumed: ("Healthy", "Current", "Unchanged"),
    not_to_be_watched: ("Healthy", "Current", "the server refuses the password"),
}


@pytest.fixture(scope="module")
def bodies() -> dict[Callable[[], World], Any]:
    """The objects as the operator leaves them."""
    return {state: state().body for state in STATES}


@pytest.fixture(params=["gopher-lua", "Argo CD"])
def program(request: pytest.FixtureRequest, applier: str) -> str:
    """Whose Lua it is: that of the library that Argo CD uses, and in the long form Argo CD's own machine."""
    if request.param == "gopher-lua":
        return applier
    if not gitops.LONG:
        pytest.skip("Argo CD takes many minutes to compile: STRATA_LONG=1")
    return gitops.argocd()


def test_argo_cd_and_kstatus_see_in_every_state_what_it_means(bodies, program):
    healths = gitops.asked("health", bodies.values(), HEALTH, program=program)
    kstatuses = gitops.kstatus(*bodies.values())
    seen = {
        state.__name__: (health["status"], kstatus, health["message"])
        for state, health, kstatus in zip(bodies, healths, kstatuses, strict=True)
    }
    wrong = {
        state.__name__: seen[state.__name__]
        for state, (health, kstatus, words) in STATES.items()
        if seen[state.__name__][:2] != (health, kstatus) or words not in seen[state.__name__][2]
    }
    assert wrong == {}


def test_every_condition_of_the_operator_is_among_the_states(bodies):
    """So that a new one is given a meaning here too."""
    kinds = {c["type"] for body in bodies.values() for c in body["status"].get("conditions", ())}
    assert kinds == {"Ready", "Reconciling", "Stalled", status.BUILDING, status.LAST, status.SUSPENDED, status.POLLING}


REGISTRY_STATES = {
    "serving": (conditions.ready("Serving", "all is well"), "Healthy", "all is well"),
    "provisioning": (conditions.reconciling("Provisioning", "the pod is not up"), "Progressing", "the pod is not up"),
    "rolling out": (conditions.reconciling("RollingOut", "soon"), "Progressing", "RollingOut"),
    "stalled": (conditions.stalled("PortConflict", "another has it"), "Degraded", "another has it"),
    "without nodes": (
        [
            *conditions.ready("Serving", "all is well"),
            conditions.Condition(registry_decide.NODE_ACCESS, conditions.FALSE, "NodeProxyDisabled", "no node pulls"),
        ],
        "Healthy",
        "no node pulls",
    ),
}


def test_registries_in_every_state(program):
    bodies = []
    for found, _, _ in REGISTRY_STATES.values():
        body = ib.registry()
        merged = conditions.merge((), found, generation=1, now=ib.NOW)
        bodies.append(body | {"status": {"observedGeneration": 1, "conditions": merged}})
    healths = gitops.asked("health", bodies, gitops.ARGOCD / "Registry/health.lua", program=program)
    for health, (name, (_, wanted, words)) in zip(healths, REGISTRY_STATES.items(), strict=True):
        assert (name, health["status"], words in health["message"]) == (name, wanted, True)
    unseen = {**ib.registry(), "status": {"observedGeneration": -1}}
    (health,) = gitops.asked("health", [unseen], gitops.ARGOCD / "Registry/health.lua", program=program)
    assert health["status"] == "Progressing"


@pytest.mark.parametrize("state", [pushed, running, suspended_when_built])
def test_actions_are_offered_where_they_make_sense(state, program):
    (offered,) = gitops.asked("discover", [state().body], ACTIONS / "discovery.lua", program=program)
    usable = {name for name, action in offered.items() if not action["disabled"]}
    names = {folder.parent.name for folder in ACTIONS.glob("*/action.lua")}
    assert offered.keys() == names
    without = {pushed: {"resume", "cancel"}, running: {"resume"}, suspended_when_built: names - {"resume"}}
    assert usable == names - without[state]


def test_an_action_that_cancels_makes_the_operator_end_the_build(program):
    world = running()
    (changed,) = gitops.asked("action", [world.body], ACTIONS / "cancel/action.lua", program=program)
    world.annotate(*next(iter(changed["metadata"]["annotations"].items())))
    world.settle()
    assert world.current["result"] == "Cancelled"


@pytest.mark.parametrize(("action", "reason"), [("rebuild", "Rebuild"), ("rebuild-without-cache", "NoCache")])
def test_an_action_that_rebuilds_makes_the_operator_build(action, reason, program):
    world = pushed()
    (changed,) = gitops.asked("action", [world.body], ACTIONS / action / "action.lua", program=program)
    world.annotate(*next(iter(changed["metadata"]["annotations"].items())))
    world.settle()
    assert world.current["reason"] == reason
    assert changed["spec"] == world.body["spec"]


def test_suspend_and_resume(program):
    (held,) = gitops.asked("action", [pushed().body], ACTIONS / "suspend/action.lua", program=program)
    assert held["spec"]["suspend"] is True
    (free,) = gitops.asked("action", [held], ACTIONS / "resume/action.lua", program=program)
    assert "suspend" not in free["spec"]


def test_the_snippet_for_argo_cd_is_made_of_the_lua_files():
    assert argocd.SNIPPET.read_text() == argocd.snippet(), "make manifests"
    data = yaml.safe_load(argocd.SNIPPET.read_text())["data"]
    assert data["resource.customizations.health.strata.build_ImageBuild"] == HEALTH.read_text()
