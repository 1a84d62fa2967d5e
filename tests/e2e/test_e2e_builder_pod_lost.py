"""A builder pod that somebody, the node or its own limits take away: what is said of it, and whether it is tried again."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from support import e2e, faults, waiting

FILL = "FROM busybox:1.36\nRUN dd if=/dev/zero of=/.strata/alive/build/big bs=1M count=200 && sleep 300\n"
SMALL_DISK = {"resources": {"limits": {"ephemeral-storage": "8Mi"}, "requests": {"ephemeral-storage": "8Mi"}}}
# What a container prints counts on every node; its root only where images lie on the kubelet's own file system.
CHATTER = "FROM busybox:1.36\nRUN yes | head -c 30000000; sleep 300\n"
SMALL_MEMORY = {"resources": {"limits": {"memory": "192Mi"}, "requests": {"memory": "64Mi"}}}
EATER = "FROM busybox:1.36\nRUN x=0123456789abcdef; while :; do x=$x$x; done\n"


GREEDY = {
    "disk": ("StorageLimitExceeded", "8Mi", e2e.image_build("disk", CHATTER, pod=SMALL_DISK)),
    # The one volume of the build container with a limit of its own that is not a setting of the release.
    "volume": ("StorageLimitExceeded", "alive", e2e.image_build("volume", FILL)),
    "memory": ("OutOfMemory", "192Mi", e2e.image_build("memory", EATER, pod=SMALL_MEMORY)),
}


def delete(home: e2e.Namespace, pod: str, *how: str) -> None:
    home("delete", "pod", pod, "--wait=false", *how)


def evict(home: e2e.Namespace, pod: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": home.name}}
    path = f"/api/v1/namespaces/{home.name}/pods/{pod}/eviction"
    home.k("create", "--raw", path, "-f", "-", text=json.dumps(body))


def kill(home: e2e.Namespace, pod: str) -> None:
    """The build container's first process, as the kernel does when the node is out of memory."""
    os.kill(faults.processes(faults.container(home.get("pod", pod), "build"))[0], signal.SIGKILL)


LOST = {
    "deleted": delete,
    "deleted-at-once": lambda home, pod: delete(home, pod, "--force", "--grace-period=0"),
    "killed": kill,
}


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """A namespace where steps may run, with a Registry from which no node pulls."""
    made = namespaces("baseline", "lost")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture(scope="module")
def lost(home, own_node, jobs) -> dict[str, e2e.Body]:
    """All that are lost, lost at once: name -> status at the end."""
    names = [*LOST, "evicted"]
    home.apply(
        *(e2e.image_build(name, waiting.dockerfile()) for name in names), *(body for *_, body in GREEDY.values())
    )
    waiting.until_running(home, *names)
    for name in names:
        (pod,) = waiting.running(home, name)
        LOST.get(name, evict)(home, pod["metadata"]["name"])
    return {name: waiting.finish(home, name) for name in names}


def events(home: e2e.Namespace, kind: str, name: str) -> list[tuple[str, str]]:
    """(reason, text) of the Events of an object."""
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    found: list[Any] = (home.k.get("events", namespace=home.name, fieldSelector=fields) or {})["items"]
    return [(event["reason"], event["message"]) for event in found]


@pytest.mark.parametrize("name", LOST)
def test_a_pod_that_is_lost_is_another_attempt_of_the_same_build(lost, home, jobs, name):
    status = lost[name]
    assert (status["current"]["number"], status["current"]["attempt"]) == (1, 2)
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert {key[1:]: len(made) for key, made in jobs.attempts(name).items()} == {(1, 1): 1, (1, 2): 1}
    assert "InfrastructureFailed" in [reason for reason, _ in events(home, "ImageBuild", name)]
    assert home.tags(name)[name]["latest"]["digest"] == status["digest"]


def test_an_evicted_pod_is_replaced_in_the_same_attempt(lost, home, jobs):
    status = lost["evicted"]
    assert (status["current"]["number"], status["current"]["attempt"]) == (1, 1)
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert {key[1:]: len(made) for key, made in jobs.attempts("evicted").items()} == {(1, 1): 1}
    (job,) = home.jobs("evicted")
    assert [reason for reason, _ in events(home, "Job", job)].count("SuccessfulCreate") == 2
    assert home.tags("evicted")["evicted"]["latest"]["digest"] == status["digest"]


@pytest.mark.parametrize("name", GREEDY)
def test_a_build_over_its_own_limits_is_told_so_and_not_tried_again(lost, home, jobs, name):
    reason, named, _ = GREEDY[name]
    status = home.wait(name, "Ready", "False", reason=reason, seconds=120)
    message = home.conditions(name)["Ready"]["message"]
    assert named in message
    assert "spec.pod.resources.limits" in message
    assert home.conditions(name)["Stalled"]["status"] == "True"
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, reason)]
    assert {key[1:]: len(made) for key, made in jobs.attempts(name).items()} == {(1, 1): 1}
    assert home.tags(name)[name] == {}
