"""Killing the operator, builder pods and the registry while a build runs: no result is lost and no attempt made twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from support import e2e, kubectl

SYSTEM = ("-n", "strata-system")
OPERATOR = (*SYSTEM, "deployment/strata-operator")
SLOW = "FROM busybox:1.36\nRUN sleep 6; echo done > /done\n"
EATER = "FROM busybox:1.36\nRUN x=0123456789abcdef; while :; do x=$x$x; done\n"
# Held back in its last second: the image is built, but cannot be pushed.
LATE = "FROM busybox:1.36\nRUN sleep 3; head -c 1000000 /dev/urandom > /late\n"


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    made = namespaces("baseline", "kills")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture
def operator(strata) -> Iterator[kubectl.Kubectl]:
    """kubectl for a test that takes the operator away; it is back afterwards."""
    yield strata
    strata("scale", *OPERATOR, "--replicas=1")
    strata(*SYSTEM, "rollout", "status", "deployment/strata-operator", "--timeout=60s")


def kill(k: kubectl.Kubectl) -> None:
    """No word of warning: as kill -9, or a node that is gone."""
    selector = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=strata"
    k(*SYSTEM, "delete", "pod", "--selector", selector, "--force", "--grace-period=0")


def one_attempt_succeeded(home: e2e.Namespace, name: str) -> None:
    status = home.wait(name, seconds=90)
    assert len(home.jobs(name)) == 1
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert home.manifest_digest(name) == status["digest"]


def phases(home: e2e.Namespace, name: str) -> list[str]:
    return [pod["status"]["phase"] for pod in home.pods(name)]


STAGES = {
    "at-apply": lambda home, name: True,
    "job-made": lambda home, name: home.jobs(name),
    "pod-runs": lambda home, name: "Running" in phases(home, name),
    "pod-ended": lambda home, name: "Succeeded" in phases(home, name),
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_operator_is_killed(home, operator, stage):
    name = f"killed-{stage}"
    home.apply(e2e.image_build(name, SLOW.replace("done", stage)))
    home.until(stage, lambda: STAGES[stage](home, name), name=name)
    kill(operator)
    one_attempt_succeeded(home, name)


def test_a_build_ends_while_there_is_no_operator(home, operator):
    home.apply(e2e.image_build("alone", SLOW.replace("done", "alone")))
    home.until("a running pod", lambda: "Running" in phases(home, "alone"), name="alone")
    operator("scale", *OPERATOR, "--replicas=0")
    home.until("the end of the pod", lambda: "Succeeded" in phases(home, "alone"), name="alone")
    assert home.conditions("alone")["Ready"]["status"] == "Unknown"
    time.sleep(10)
    operator("scale", *OPERATOR, "--replicas=1")
    one_attempt_succeeded(home, "alone")


def test_a_builder_pod_that_is_deleted_is_another_attempt_of_the_same_build(home):
    home.apply(e2e.image_build("deleted", SLOW.replace("done", "deleted")))
    home.until("a running pod", lambda: "Running" in phases(home, "deleted"), name="deleted")
    home("delete", "pod", home.pods("deleted")[0]["metadata"]["name"], "--force", "--grace-period=0")
    status = home.wait("deleted", seconds=120)
    assert status["current"]["number"] == 1
    assert status["current"]["attempt"] == 2
    assert [b["result"] for b in status["builds"]] == ["Succeeded"]


def test_a_step_that_eats_its_memory_is_told_so_and_not_tried_again(home):
    pod = {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "192Mi"}}}
    home.apply(e2e.image_build("eater", EATER, pod=pod))
    home.wait("eater", "Ready", "False", reason="OutOfMemory", seconds=90)
    message = home.conditions("eater")["Ready"]["message"]
    assert "memory" in message
    assert len(home.jobs("eater")) == 1


def test_a_registry_that_is_away_for_a_while_gets_its_image_later(home):
    """The operator repairs a Deployment that is scaled down; a pod that cannot be scheduled it leaves to the node."""
    home.apply(e2e.image_build("late", LATE))
    home.until("a running pod", lambda: "Running" in phases(home, "late"), name="late")
    away = time.monotonic() + 20
    while time.monotonic() < away:
        home.ask("delete", "pod", "--selector", "strata.build/registry", "--force", "--grace-period=0")
        home.ask("scale", "deployment/strata-main", "--replicas=0")
    status = home.wait("late", seconds=180)
    assert home.manifest_digest("late") == status["digest"]
