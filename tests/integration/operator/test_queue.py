"""Who builds next, before a real API server with its Job controller: limits, turns, pauses, cancels, suspended Jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import cluster
from support import controlplane, e2e, kubectl, operator_process, played_node, registry_process

LIMIT = 2
SETTINGS = {
    "POD_NAME": "queue",
    "POLL_ALLOWED_CIDRS": "127.0.0.0/8",
    "NODE_PROXY": "false",
    "MAX_BUILDS": str(LIMIT),
    "IMAGE_VOLUMES": "Never",
}
CONTROLLERS = (*controlplane.CONTROLLERS, "resourcequota-controller")
SELECTOR = {"namespaces": "Selector", "selector": {"matchLabels": {"queue": "yes"}}, "sharedCredentials": True}


@dataclass
class World:
    """Three namespaces that share the Registry of the first; the operator starts anew with other settings."""

    k: kubectl.Kubectl
    plane: controlplane.ControlPlane
    node: played_node.Node
    operator: operator_process.OperatorProcess
    three: list[e2e.Namespace]

    @property
    def home(self) -> e2e.Namespace:
        return self.three[0]

    def build(self, name: str, **spec: object) -> e2e.Body:
        output = {"registry": {"name": e2e.REGISTRY, "namespace": self.home.name}}
        return e2e.image_build(name, f"FROM scratch\nLABEL name={name}\n", output=output, **spec)

    def hold(self, name: str, where: e2e.Namespace, **spec: object) -> None:
        """A build whose pod runs until it is let go."""
        self.node.holds.add(name)
        where.apply(self.build(name, **spec))
        told(where, name, "Building", "runs on node")


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[World]:
    programs, registry = controlplane.find_binaries(), registry_process.find_binary()
    if programs is None or registry is None:
        pytest.skip("the programs of the cluster are not there: make cluster-up")
    with (
        controlplane.ControlPlane(programs, controllers=CONTROLLERS) as plane,
        registry_process.RegistryProcess(registry) as store,
        played_node.Node(plane, store.host) as node,
        operator_process.OperatorProcess(plane.kubeconfig, plane.folder / "operator.log", SETTINGS) as operator,
    ):
        where = cluster.Cluster("strata-queue", plane.kubeconfig, None, None, programs, "strata-queue", None)
        k = kubectl.Kubectl(where)
        for name in ("strata-system", "one", "two", "three"):
            meta = {"name": name, "labels": {"queue": "yes"}}
            k("create", "-f", "-", body={"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        made = World(k, plane, node, operator, [e2e.Namespace(k, name) for name in ("one", "two", "three")])
        body = {"apiVersion": e2e.API_VERSION, "kind": "Registry", "metadata": {"name": e2e.REGISTRY}}
        made.home.apply(body | {"spec": {"external": {"host": store.host, "insecure": True}, "access": SELECTOR}})
        made.home.wait(e2e.REGISTRY, kind="registry")
        yield made


@pytest.fixture
def world(started: World) -> Iterator[World]:
    """Nothing of a test is left to the next."""
    yield started
    started.node.holds.clear()
    for namespace in started.three:
        namespace("delete", "imagebuilds", "--all", "--wait=true")
        namespace.until("the end of its pods", lambda here=namespace: not pods(here), seconds=90)


def pods(home: e2e.Namespace) -> list[e2e.Body]:
    found = home.all("pods", "strata.build/imagebuild-uid")
    return [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]


def told(home: e2e.Namespace, name: str, reason: str, *said: str) -> e2e.Body:
    """Waits until the build says `reason`, and `said` in its message; gives its status."""

    def met() -> e2e.Body | None:
        spoken = [home.conditions(name).get(kind, {}) for kind in ("Building", "Stalled", "LastBuildSucceeded")]
        held = [c for c in spoken if c.get("reason") == reason and all(word in c["message"] for word in said)]
        return home.status(name) if held else None

    found: e2e.Body = home.until(f"{name}: {reason} {said}", met, seconds=90, name=name)
    return found


def ready(home: e2e.Namespace, name: str) -> bool:
    return home.conditions(name).get("Ready", {}).get("status") == "True"


def test_three_namespaces_take_turns_and_keep_to_the_limit_also_with_a_new_operator(world):
    home, others = world.home, world.three[1:]
    holding = [f"holds-{n}" for n in range(LIMIT)]
    for name in holding:
        world.hold(name, home)
    crowd = [f"crowd-{n}" for n in range(6)]
    home.apply({"apiVersion": "v1", "kind": "List", "items": [world.build(name, priority=1000) for name in crowd]})
    for name in crowd:
        told(home, name, "Queued", f"{LIMIT} builds run in the cluster, as many as may at once")
    for other in others:
        other.apply(world.build("lone"))
        status = told(other, "lone", "Queued", "number 1 in the queue of its namespace")
        assert (status["current"]["queuePosition"], status["current"]["queueLimit"]) == (1, "Cluster")
    world.operator.stop(kill=True)
    world.operator.start()
    world.node.holds.clear()
    most = 0

    def all_ready() -> bool:
        nonlocal most
        most = max(most, sum(len(pods(each)) for each in world.three))
        return all(ready(home, name) for name in (*holding, *crowd)) and all(ready(other, "lone") for other in others)

    home.until("all", all_ready, seconds=180)
    assert most <= LIMIT
    lone = [other.status("lone")["current"]["startTime"] for other in others]
    starts = sorted(home.status(name)["current"]["startTime"] for name in crowd)
    assert max(lone) < starts[1], "both had their turn before the crowd had a second one"


def test_a_namespaces_annotation_limits_it_and_a_cancel_makes_room(world):
    home = world.home
    world.k("annotate", "namespace", home.name, "strata.build/max-builds=1")
    world.hold("first", home)
    home.apply(world.build("second"))
    told(home, "second", "Queued", f"1 builds run in namespace {home.name}")
    home("annotate", "imagebuild", "first", "strata.build/cancel=1")
    status = told(home, "first", "Cancelled", "strata.build/rebuild")
    assert status["lastHandledCancel"] == "1"
    assert [b["result"] for b in status["builds"]] == ["Cancelled"]
    home.wait("second")
    world.node.holds.clear()
    world.k("annotate", "namespace", home.name, "strata.build/max-builds-")
    home("annotate", "imagebuild", "first", "strata.build/rebuild=1")
    home.until("it is built", lambda: ready(home, "first"), seconds=90, name="first")
    assert [b["result"] for b in home.status("first")["builds"]] == ["Succeeded", "Cancelled"]


def test_a_registrys_limit_counts_the_builds_of_all_namespaces(world):
    home, other = world.three[:2]
    home("patch", "registry", e2e.REGISTRY, "--type=merge", "-p", '{"spec": {"builds": {"maxConcurrent": 1}}}')
    home.wait(e2e.REGISTRY, kind="registry")
    world.hold("first", home)
    other.apply(world.build("second"))
    told(other, "second", "Queued", f"1 builds write to Registry {home.name}/{e2e.REGISTRY}")
    home("patch", "registry", e2e.REGISTRY, "--type=merge", "-p", '{"spec": {"builds": null}}')
    other.wait("second")


def test_a_paused_namespace_starts_nothing_until_the_pause_is_over_and_what_runs_ends(world):
    home = world.home
    world.hold("runs", home)
    world.k("annotate", "namespace", home.name, "strata.build/paused=the storage moves")
    home.apply(world.build("patient"))
    told(home, "patient", "Paused", "(the storage moves)")
    world.node.holds.clear()
    home.wait("runs")
    assert home.jobs("patient") == []
    world.k("annotate", "namespace", home.name, "strata.build/paused-")
    home.wait("patient")


def test_a_rebuild_is_waited_for_with_kubectl_alone(world):
    home = world.home
    home.build(world.build("again"))
    home("annotate", "--overwrite", "imagebuild/again", "strata.build/rebuild=v7")
    home("wait", "--for=jsonpath={.status.lastHandledRebuild}=v7", "imagebuild/again", "--timeout=1m")
    home("wait", "--for=jsonpath={.status.current.phase}=Succeeded", "imagebuild/again", "--timeout=90s")
    current = home.status("again")["current"]
    assert (current["number"], current["reason"]) == (2, "Rebuild")


def test_a_spec_that_changes_lets_the_build_end_first_where_the_spec_says_so(world):
    home = world.home
    world.hold("calm", home, concurrency="Queue")
    home("patch", "imagebuild", "calm", "--type=merge", "-p", '{"spec": {"labels": {"v": "2"}}}')
    told(home, "calm", "Building", "of an older spec")
    assert len(home.jobs("calm")) == 1
    world.node.holds.clear()
    status = home.wait("calm")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(2, "Succeeded"), (1, "Succeeded")]
    assert status["lastSuccess"]["generation"] == 2


def test_a_spec_that_changes_supersedes_the_build_where_it_says_nothing(world):
    home = world.home
    world.hold("hasty", home)
    world.node.holds.clear()
    home("patch", "imagebuild", "hasty", "--type=merge", "-p", '{"spec": {"labels": {"v": "2"}}}')
    home.wait("hasty")
    assert home.status("hasty")["lastSuccess"]["generation"] == 2


def test_a_suspended_job_waits_is_taken_back_and_ends_in_the_same_attempt(world):
    """What Kueue does to Jobs, by hand: the real Job controller suspends and resumes them."""
    home, other = world.three[:2]
    body = world.build("queued")
    body["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "builds"}
    world.node.holds.add("queued")
    home.apply(body)
    told(home, "queued", "Queued", "from LocalQueue builds")
    (job,) = home.jobs("queued")
    found = home.get("job", job)
    assert found["spec"]["suspend"] is True
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "builds"
    assert "kueue.x-k8s.io/queue-name" not in found["spec"]["template"]["metadata"]["labels"]
    for number in range(LIMIT):
        world.hold(f"beside-{number}", other)  # it holds no place
    suspend = lambda wanted: home("patch", "job", job, "--type=merge", "-p", json.dumps({"spec": {"suspend": wanted}}))  # noqa: E731
    suspend(False)
    told(home, "queued", "Building", "runs on node")
    other.apply(world.build("waits"))
    told(other, "waits", "Queued", f"{LIMIT} builds run in the cluster")
    suspend(True)
    told(home, "queued", "Queued", "from LocalQueue builds")
    home.until("no pod", lambda: not pods(home), seconds=60)
    world.node.holds.discard("queued")
    suspend(False)
    status = home.wait("queued")
    assert (status["current"]["attempt"], home.jobs("queued")) == (1, [job])
    assert [b["result"] for b in status["builds"]] == ["Succeeded"]


REFUSALS = [
    ("ResourceQuota", {"hard": {"pods": "0"}}, "QuotaExceeded", ["exceeded quota: limits", "used: pods="]),
    (
        "LimitRange",
        {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]},
        "PodRejected",
        ["LimitRange", "maximum memory usage per Container is 16Mi"],
    ),
]


@pytest.mark.parametrize(("kind", "spec", "reason", "said"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_what_a_namespace_refuses_is_told_as_what_it_is(world, kind, spec, reason, said):
    place = world.three[2]
    place.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": "limits"}, "spec": spec})
    if kind == "ResourceQuota":
        place.until("a quota that counts", lambda: "used" in place.get("resourcequota", "limits")["status"])
    place.apply(world.build("refused"))
    told(place, "refused", reason, *said)
    assert place.jobs("refused") == []
    place("delete", kind.lower(), "limits")
    place("annotate", "imagebuild", "refused", "strata.build/rebuild=1")
    place.until("it is built", lambda: ready(place, "refused"), seconds=90, name="refused")


def test_a_pause_of_the_whole_cluster_ends_with_the_setting(world):
    home = world.home
    world.operator.stop()
    settings = SETTINGS | {"PAUSED": "registry upgrade"}
    with operator_process.OperatorProcess(world.plane.kubeconfig, world.plane.folder / "paused.log", settings):
        home.apply(world.build("patient"))
        told(home, "patient", "Paused", "all builds of the cluster are paused (registry upgrade)")
    world.operator.start()
    home.wait("patient")
