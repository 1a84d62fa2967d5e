"""Builds that Kueue admits, with Kueue itself: what waits for a quota, what is taken back, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support import e2e, go_programs, kubectl, kueue

pytestmark = pytest.mark.skipif(not kueue.LONG, reason="Kueue takes many minutes to compile: STRATA_LONG=1")

#: No node takes such a pod: its build keeps the quota for as long as the test wants.
NOWHERE = {"nodeSelector": {"example.org/no-such": "node"}}


@pytest.fixture(scope="module")
def home(
    strata: kubectl.Kubectl,
    own_node: None,
    namespaces: Callable[..., e2e.Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[e2e.Namespace]:
    """A namespace with a Registry, on a cluster with Kueue."""
    try:
        kueue.program()
    except go_programs.Missing as e:
        pytest.fail(str(e), pytrace=False)
    with kueue.installed(strata, tmp_path_factory.mktemp("kueue")):
        made = namespaces("restricted", "kueue")
        made.apply(e2e.registry(0, managed=e2e.HIDDEN))
        made.wait(e2e.REGISTRY, kind="registry")
        yield made


@pytest.fixture
def queues(home: e2e.Namespace) -> Iterator[kueue.Queues]:
    """Queues with a quota for one build; nothing of a test is left in them."""
    found = kueue.Queues(home)
    with found.made(pods=1):
        yield found


def build(name: str, queue: str = "builds", *, priority: str = "", **spec: object) -> e2e.Body:
    body = e2e.image_build(name, f"FROM scratch\nLABEL name={name}\n", **spec)
    body["metadata"]["labels"] = {kueue.QUEUE_NAME: queue}
    if priority:
        body["metadata"]["labels"][kueue.PRIORITY_CLASS] = priority
    return body


def told(home: e2e.Namespace, name: str, reason: str, *said: str) -> str:
    """Waits until the build says `reason`, and `said` in its message; gives the message."""

    def met() -> str:
        spoken = home.conditions(name).get("Building", {})
        message = str(spoken.get("message"))
        return message if spoken.get("reason") == reason and all(word in message for word in said) else ""

    return str(home.until(f"{name}: {reason} {said}", met, seconds=90, name=name))


def test_with_quota_a_build_runs_and_its_workload_is_finished(home, queues):
    status = home.build(build("first"))
    assert [(b["result"], status["current"]["attempt"]) for b in status["builds"]] == [("Succeeded", 1)]
    home.until("Kueue knows that it has ended", lambda: queues.condition("first", "Finished").get("status") == "True")
    (workload,) = queues.workloads()
    assert workload["spec"]["queueName"] == "builds"
    home("delete", "imagebuild", "first")
    home.until("no Workload", lambda: not queues.workloads())


def test_without_quota_it_waits_with_kueues_words_and_goes_on_when_there_is_some(home, queues):
    home.apply(build("holds", pod=NOWHERE))
    told(home, "holds", "Unschedulable")
    home.apply(build("waits"))
    message = told(home, "waits", "Queued", "from LocalQueue builds", "insufficient unused quota for pods")
    assert queues.condition("waits", "QuotaReserved")["message"] in message
    (job,) = home.jobs("waits")
    assert home.get("job", job)["spec"]["suspend"] is True
    assert home.pods("waits") == []
    home("annotate", "imagebuild", "holds", "strata.build/cancel=1")
    status = home.wait("waits")
    assert (status["current"]["attempt"], home.jobs("waits")) == (1, [job])


def test_a_larger_quota_lets_it_go(home, queues):
    queues.quota(0)
    home.apply(build("waits"))
    told(home, "waits", "Queued", "quota for pods")
    queues.quota(1)
    home.wait("waits")


def test_a_build_that_kueue_takes_back_begins_anew_in_the_same_attempt(home, queues):
    home.apply(build("low", pod=NOWHERE, priority=f"{queues.name}-low"))
    told(home, "low", "Unschedulable")
    home.apply(build("high", pod=NOWHERE, priority=f"{queues.name}-high"))
    told(home, "high", "Unschedulable")
    told(home, "low", "Queued", "from LocalQueue builds")
    home.until("the end of its pod", lambda: home.pods("low") == [])
    assert queues.condition("low", "Evicted")["reason"] == "Preempted"
    home("annotate", "imagebuild", "high", "strata.build/cancel=1")
    told(home, "low", "Unschedulable")
    status = home.status("low")
    assert (status["current"]["attempt"], status.get("builds", [])) == (1, [])


def test_a_queue_that_is_stopped_takes_all_back_and_they_end_well_when_it_goes_on(strata, home, queues):
    home.apply(build("stopped", pod={"nodeSelector": {"example.org/e2e": "later"}}))
    told(home, "stopped", "Unschedulable")
    (job,) = home.jobs("stopped")
    queues.quota(1, stopPolicy="HoldAndDrain")
    told(home, "stopped", "Queued", "from LocalQueue builds", "The ClusterQueue is stopped")
    strata("label", "nodes", "--all", "example.org/e2e=later")
    try:
        queues.quota(1)
        status = home.wait("stopped")
    finally:
        strata("label", "nodes", "--all", "example.org/e2e-")
    assert (status["current"]["attempt"], home.jobs("stopped")) == (1, [job])


def test_a_queue_that_is_not_there_is_told_and_another_label_is_heeded(home, queues):
    home.apply(build("lost", queue="no-such"))
    told(home, "lost", "Queued", "from LocalQueue no-such", "kubectl describe workloads.kueue.x-k8s.io")
    home.until("Kueue knows it", lambda: "no-such" in queues.condition("lost", "QuotaReserved").get("message", ""))
    home("label", "--overwrite", "imagebuild", "lost", f"{kueue.QUEUE_NAME}=builds")
    status = home.wait("lost")
    assert [b["result"] for b in status["builds"]] == ["Succeeded"]


@pytest.mark.parametrize("quota", [0, 1], ids=["waiting", "running"])
@pytest.mark.parametrize("end", ["deleted", "suspended", "cancelled"])
def test_what_ends_leaves_no_workload(home, queues, quota, end):
    queues.quota(quota)
    home.apply(build("ends", pod=NOWHERE))
    told(home, "ends", "Unschedulable" if quota else "Queued", "" if quota else "quota for pods")
    assert len(queues.workloads()) == 1
    if end == "deleted":
        home("delete", "imagebuild", "ends")
    elif end == "suspended":
        home("patch", "imagebuild", "ends", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    else:
        home("annotate", "imagebuild", "ends", "strata.build/cancel=1")
    home.until("no Workload", lambda: not queues.workloads())
    home.until("no Job", lambda: not home.all("jobs"))
