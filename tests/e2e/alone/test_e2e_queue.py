"""Who builds next on a real cluster: limits of three namespaces, pauses, cancels, suspended Jobs, what quotas refuse,
and a base image that moves under many.

The commands are those of docs/queue.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support import e2e, joblog, release

PLAIN = "FROM scratch\nLABEL a=1\n"
#: No node takes such a pod: its build has a place for as long as the test wants.
NOWHERE = {"nodeSelector": {"example.org/no-such": "node"}}
FRIENDS = {"namespaces": "Selector", "selector": {"matchLabels": {"strata-e2e": "queue"}}, "sharedCredentials": True}
LIMIT = 2
#: Images on one base, and their priorities.
STORM = {f"calm-{n:02}": 0 for n in range(12)} | {f"urgent-{n:02}": 100 for n in range(12)}


@pytest.fixture(scope="module")
def three(strata, namespaces: Callable[..., e2e.Namespace]) -> Iterator[list[e2e.Namespace]]:
    """Three namespaces that share the Registry of the first, on a release that runs LIMIT builds at once."""
    made = [namespaces("restricted", "queue", labels={"strata-e2e": "queue"}) for _ in range(3)]
    with release.changed(strata, {"builds": {"maxConcurrent": LIMIT}}):
        made[0].apply(e2e.registry(0, managed=e2e.HIDDEN, access=FRIENDS))
        made[0].wait(e2e.REGISTRY, kind="registry")
        yield made


@pytest.fixture
def home(three: list[e2e.Namespace]) -> Iterator[e2e.Namespace]:
    """The first of the three; nothing of a test is left in any."""
    yield three[0]
    used = [namespace for namespace in three if namespace.all("imagebuilds")]
    for namespace in used:
        namespace("delete", "imagebuilds", "--all", "--wait=false")
    for namespace in used:
        namespace.until("the end of its ImageBuilds", lambda here=namespace: not here.all("imagebuilds"), seconds=90)
        namespace.until("the end of its pods", lambda here=namespace: not builder_pods(here), seconds=90)


def build(home: e2e.Namespace, name: str, **spec: object) -> e2e.Body:
    output = {"registry": {"name": e2e.REGISTRY, "namespace": home.name}}
    return e2e.image_build(name, f"{PLAIN}LABEL name={name}\n", output=output, **spec)


def builder_pods(home: e2e.Namespace) -> list[e2e.Body]:
    found = home.all("pods", "strata.build/imagebuild-uid")
    return [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]


def told(home: e2e.Namespace, name: str, reason: str, *said: str, seconds: float = 60) -> e2e.Body:
    """Waits until the build says `reason`, and `said` in its message; gives its status."""

    def met() -> e2e.Body | None:
        spoken = [home.conditions(name).get(kind, {}) for kind in ("Building", "Stalled", "LastBuildSucceeded")]
        held = [c for c in spoken if c.get("reason") == reason and all(word in c["message"] for word in said)]
        return home.status(name) if held else None

    found: e2e.Body = home.until(f"{name}: {reason} {said}", met, seconds=seconds, name=name)
    return found


def test_three_namespaces_take_turns_and_keep_to_the_limit(three, home):
    for number in range(LIMIT):
        home.apply(build(home, f"holds-{number}", pod=NOWHERE))
        told(home, f"holds-{number}", "Unschedulable", "didn't match Pod's node affinity/selector")
    home.apply(
        {"apiVersion": "v1", "kind": "List", "items": [build(home, f"crowd-{n}", priority=1000) for n in range(5)]}
    )
    for number in range(5):
        told(home, f"crowd-{number}", "Queued", f"{LIMIT} builds run in the cluster")
    for other in three[1:]:
        other.apply(build(home, "lone"))
        status = told(other, "lone", "Queued", "number 1 in the queue of its namespace")
        assert (status["current"]["queuePosition"], status["current"]["queueLimit"]) == (1, "Cluster")
    for number in range(LIMIT):
        home("annotate", "imagebuild", f"holds-{number}", "strata.build/cancel=1")
    most = 0

    def ready() -> bool:
        nonlocal most
        most = max(most, sum(len(builder_pods(each)) for each in three))
        return all(other.conditions("lone").get("Ready", {}).get("status") == "True" for other in three[1:]) and all(
            home.conditions(f"crowd-{n}").get("Ready", {}).get("status") == "True" for n in range(5)
        )

    home.until("all", ready, seconds=240)
    assert most <= LIMIT
    lone = [other.status("lone")["current"]["startTime"] for other in three[1:]]
    crowd = sorted(home.status(f"crowd-{n}")["current"]["startTime"] for n in range(5))
    assert max(lone) < crowd[2], "both had their turn before the crowd had three"


def test_a_namespaces_annotation_limits_it_and_a_cancel_makes_room(strata, home):
    strata("annotate", "namespace", home.name, "strata.build/max-builds=1")
    try:
        home.apply(build(home, "first", pod=NOWHERE))
        told(home, "first", "Unschedulable")
        home.apply(build(home, "second"))
        told(home, "second", "Queued", f"1 builds run in namespace {home.name}")
        home("annotate", "imagebuild", "first", "strata.build/cancel=1")
        status = told(home, "first", "Cancelled", "strata.build/rebuild")
        assert status["lastHandledCancel"] == "1"
        assert [b["result"] for b in status["builds"]] == ["Cancelled"]
        home.wait("second")
        home.until("the ends of all pods", lambda: not builder_pods(home))
    finally:
        strata("annotate", "namespace", home.name, "strata.build/max-builds-")


def test_a_registrys_limit_counts_the_builds_of_all_namespaces(three, home):
    home("patch", "registry", e2e.REGISTRY, "--type=merge", "-p", '{"spec": {"builds": {"maxConcurrent": 1}}}')
    try:
        home.apply(build(home, "first", pod=NOWHERE))
        told(home, "first", "Unschedulable")
        three[1].apply(build(home, "second"))
        told(three[1], "second", "Queued", f"1 builds write to Registry {home.name}/{e2e.REGISTRY}")
    finally:
        home("patch", "registry", e2e.REGISTRY, "--type=merge", "-p", '{"spec": {"builds": null}}')
    three[1].wait("second")


def test_a_paused_namespace_starts_nothing_until_the_pause_is_over(strata, home):
    strata("annotate", "namespace", home.name, "strata.build/paused=the storage moves")
    home.apply(build(home, "patient"))
    told(home, "patient", "Paused", "(the storage moves)")
    assert home.jobs("patient") == []
    strata("annotate", "namespace", home.name, "strata.build/paused-")
    home.wait("patient")


def test_a_paused_cluster_starts_nothing_until_the_pause_is_over(strata, home):
    with release.changed(strata, {"builds": {"paused": "registry upgrade until 14:00"}}):
        home.apply(build(home, "patient"))
        told(home, "patient", "Paused", "(registry upgrade until 14:00)")
        assert home.jobs("patient") == []
    home.wait("patient")


def test_a_rebuild_is_waited_for_with_kubectl_alone(home):
    home.build(build(home, "again"))
    home("annotate", "--overwrite", "imagebuild/again", "strata.build/rebuild=v7")
    home("wait", "--for=jsonpath={.status.lastHandledRebuild}=v7", "imagebuild/again", "--timeout=1m")
    home("wait", "--for=jsonpath={.status.current.phase}=Succeeded", "imagebuild/again", "--timeout=2m")
    current = home.status("again")["current"]
    assert (current["number"], current["reason"]) == (2, "Rebuild")


def test_a_spec_that_changes_lets_the_build_end_first_where_the_spec_says_so(home):
    home.apply(build(home, "calm", concurrency="Queue", pod=NOWHERE))
    told(home, "calm", "Unschedulable")
    home("patch", "imagebuild", "calm", "--type=merge", "-p", '{"spec": {"labels": {"v": "2"}, "pod": null}}')
    told(home, "calm", "Unschedulable")
    assert len(home.jobs("calm")) == 1
    home("patch", "imagebuild", "calm", "--type=merge", "-p", '{"spec": {"concurrency": "Supersede"}}')
    status = home.wait("calm")
    assert [b["result"] for b in status["builds"]] == ["Succeeded", "Superseded"]


def test_a_suspended_job_waits_is_taken_back_and_ends_in_the_same_attempt(three, home):
    """What Kueue does to Jobs, by hand."""
    body = build(home, "queued", pod=NOWHERE)
    body["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "builds"}
    home.apply(body)
    told(home, "queued", "Queued", "from LocalQueue builds")
    (job,) = home.jobs("queued")
    found = home.get("job", job)
    assert found["spec"]["suspend"] is True
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "builds"
    for number in range(LIMIT):
        three[1].build(build(home, f"beside-{number}"))  # it holds no place
    home("patch", "job", job, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    told(home, "queued", "Unschedulable")
    home("patch", "job", job, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    told(home, "queued", "Queued", "from LocalQueue builds")
    home.until("no pod", lambda: not builder_pods(home), seconds=60)
    admitted = '{"spec": {"suspend": false, "template": {"spec": {"nodeSelector": null}}}}'
    home("patch", "job", job, "--type=merge", "-p", admitted)
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


@pytest.mark.parametrize("kind", ["PriorityClass", "RuntimeClass"])
def test_a_class_that_is_missing_is_told_by_its_name(home, kind):
    home.apply(build(home, "classy", pod={f"{kind[0].lower()}{kind[1:]}Name": "no-such"}))
    told(home, "classy", "ReferenceNotFound", f"{kind} no-such does not exist in this cluster", "spec.pod.")
    assert home.jobs("classy") == []


@pytest.mark.parametrize(("kind", "spec", "reason", "said"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_what_a_namespace_refuses_is_told_as_what_it_is(three, home, kind, spec, reason, said):
    place = three[2]
    place.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": "limits"}, "spec": spec})
    try:
        place.apply(build(home, "refused"))
        told(place, "refused", reason, *said)
        assert place.jobs("refused") == []
    finally:
        place("delete", kind.lower(), "limits")
    place("annotate", "imagebuild", "refused", "strata.build/rebuild=1")
    place.until("it is built", lambda: place.conditions("refused")["Ready"]["status"] == "True", seconds=90)


def on_base(home: e2e.Namespace, name: str) -> e2e.Body:
    """An image of STORM. Its interval is so long that only the end of the base's build has it looked at."""
    host = home.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    text = f"FROM {host}/{home.name}/base\nLABEL name={name}\n"
    triggers = {"baseImages": {"pollInterval": "24h"}}
    return e2e.image_build(name, text, isolation="Layers", priority=STORM[name], triggers=triggers)


def most_at_once(home: e2e.Namespace, number: int) -> int:
    """The most builder pods that were seen until build `number` of each image of STORM has succeeded."""
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, len(builder_pods(home)))
        found = {body["metadata"]["name"]: body.get("status", {}) for body in home.all("imagebuilds")}
        return all(found[name].get("lastSuccess", {}).get("number") == number for name in STORM)

    home.until(f"build {number} of all", ended, seconds=60 + 15 * len(STORM))
    return most


def test_a_base_that_moves_is_one_build_of_each_image_on_it_the_urgent_ones_first_and_no_more_than_may_at_once(
    home, tmp_path
):
    with joblog.JobLog(home, tmp_path / "jobs") as jobs:
        first = home.build(e2e.image_build("base", "FROM scratch\nLABEL version=1\n"))
        home.apply({"apiVersion": "v1", "kind": "List", "items": [on_base(home, name) for name in STORM]})
        assert most_at_once(home, 1) == LIMIT
        home.apply(e2e.image_build("base", "FROM scratch\nLABEL version=2\n"))
        assert most_at_once(home, 2) == LIMIT
        made = {name: {key[1:]: len(uids) for key, uids in jobs.attempts(name).items()} for name in STORM}
    assert [once for once in made.values() if once != {(1, 1): 1, (2, 1): 1}] == []
    found = {name: home.status(name) for name in STORM}
    reasons = {tuple(build["reason"] for build in status["builds"]) for status in found.values()}
    assert reasons == {("BaseImageChanged", "SpecChanged")}
    moved = home.status("base")["digest"]
    assert moved != first["digest"]
    assert {status["baseImages"][0]["digest"] for status in found.values()} == {moved}
    order = sorted(STORM, key=lambda name: found[name]["current"]["startTime"])
    assert [STORM[name] for name in order] == sorted(STORM.values(), reverse=True)


def test_a_builder_image_that_cannot_be_pulled_is_told_with_the_nodes_words(strata, home):
    """The last here: `three` brings the release back."""
    release.change(strata, {"builder": {"image": {"repository": "registry.invalid/no-such", "tag": "1"}}})
    home.apply(build(home, "imageless"))
    told(home, "imageless", "BuilderImagePullFailed", "registry.invalid/no-such:1")
