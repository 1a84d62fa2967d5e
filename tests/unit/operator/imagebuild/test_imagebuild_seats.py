"""The places of a whole cluster: who has one at the start, whose limits count, and when one is free again."""

from __future__ import annotations

from typing import Any

import pytest

from strata_operator import cache, controller, kube, metrics, names, settings
from strata_operator.imagebuild import case, observe, queueing, seats
from support import imagebuilds as ib

pytestmark = pytest.mark.asyncio
STORES = (names.IMAGEBUILDS, names.REGISTRIES, names.NAMESPACES, names.JOBS, names.PODS, names.CONFIGMAPS)


class Cluster:
    """What the cache knows, and who was woken."""

    def __init__(self, **options: Any) -> None:
        self.frame = controller.Frame(
            settings.Settings(namespace="strata-system", **options),
            metrics.Metrics(),
            kube.Kube(None),  # type: ignore[arg-type]  # nothing is asked
        )
        indexes = {names.IMAGEBUILDS: observe.indexes(), names.PODS: observe.pod_indexes()}
        for resource in STORES:
            self.frame.cache.add(cache.Store(resource, packed=True, indexes=indexes.get(resource)))
        self.woken: list[names.Key] = []
        self.frame.enqueue = lambda _kind, key, _delay=0.0: self.woken.append(key)  # type: ignore[method-assign]
        self.versions = 1
        self.put(names.REGISTRIES, ib.registry())

    def put(self, resource: names.Resource, body: Any) -> Any:
        self.versions += 1
        body["metadata"]["resourceVersion"] = str(self.versions)
        self.frame.cache[resource].put(body)
        return body

    def namespace(self, name: str, **notes: str) -> None:
        body = ib.namespace(name=name)
        body["metadata"]["annotations"] = {f"strata.build/{key.replace('_', '-')}": text for key, text in notes.items()}
        self.put(names.NAMESPACES, body)

    def build(self, name: str, namespace: str = "team", registry: str = "team", **current: Any) -> Any:
        body = ib.build(name, namespace, uid=name, output={"registry": {"name": "main", "namespace": registry}})
        body["status"] = {"current": {"number": 1, **current}} if current else {}
        return self.put(names.IMAGEBUILDS, body)

    def pod(self, name: str, namespace: str = "team", phase: str = "Running") -> Any:
        body = ib.pod(ib.build(name), name=f"{name}-x", phase=phase)
        body["metadata"] |= {"namespace": namespace, "labels": {names.LABEL_IMAGEBUILD_UID: name}}
        body["metadata"]["annotations"] = {names.ANNOTATION_IMAGEBUILD: name}
        return self.put(names.PODS, body)

    def see(self, body: Any) -> case.Observed:
        return observe.observe(self.frame, body)

    async def claim(self, made: seats.Seats, body: Any, since: float = 0.0) -> queueing.Standing | None:
        return await made.claim(self.see(body), queueing.rank(0, since, body["metadata"]["uid"], "SpecChanged"))


def restored(cluster: Cluster) -> seats.Seats:
    made = seats.Seats(cluster.frame, "imagebuild")
    made.restore()
    return made


async def test_the_limits_are_those_of_the_chart_the_namespaces_annotation_and_the_registry():
    cluster = Cluster(max_builds=9, max_builds_per_namespace=1)
    cluster.namespace("team")
    cluster.namespace("wide", max_builds="3")
    cluster.put(names.REGISTRIES, ib.registry(builds={"maxConcurrent": 3}))
    made = restored(cluster)
    assert await cluster.claim(made, cluster.build("a")) is None
    assert await cluster.claim(made, cluster.build("b")) == queueing.Standing(1, "Namespace", 1, 1)
    wide = [await cluster.claim(made, cluster.build(f"w{n}", "wide")) for n in range(3)]
    assert wide == [None, None, queueing.Standing(1, "Registry", 3, 2)]
    cluster.namespace("team", max_builds="2")
    cluster.put(names.REGISTRIES, ib.registry(builds={"maxConcurrent": 4}))
    assert await cluster.claim(made, cluster.build("b")) is None


async def test_a_new_operator_knows_who_runs_who_waits_and_whose_turn_it_is():
    cluster = Cluster(max_builds=2)
    started = [(f"r{n}", {"phase": "Running", "startTime": f"2026-01-01T00:00:0{n}.000Z"}) for n in range(2)]
    for name, current in started:
        cluster.build(name, **current)
    waiting = {"phase": "Pending", "queuePosition": 1, "queueLimit": "Cluster"}
    cluster.build("late", "other", queuedTime="2026-01-01T00:00:09.000Z", **waiting)
    cluster.build("early", "other", queuedTime="2026-01-01T00:00:01.000Z", **waiting)
    cluster.build("own", queuedTime="2025-01-01T00:00:01.000Z", **waiting)
    cluster.build("idle", phase="Succeeded")
    made = restored(cluster)
    assert cluster.woken == []
    assert b'strata_builds{state="queued"} 3.0' in metrics_of(made, cluster)
    made.leave(names.Key("team", "r0"))
    made.leave(names.Key("team", "r1"))
    assert cluster.woken == [names.Key("other", "early"), names.Key("team", "own")]


def metrics_of(made: seats.Seats, cluster: Cluster) -> bytes:
    made.measure()
    return cluster.frame.metrics.render()


async def test_whoever_is_free_at_the_start_of_an_operator_goes_to_who_is_next_and_not_to_who_is_looked_at_first():
    cluster = Cluster(max_builds=1)
    waiting = {"phase": "Pending", "queuePosition": 1, "queueLimit": "Cluster"}
    late = cluster.build("a-late", queuedTime="2026-01-01T00:00:09.000Z", **waiting)
    cluster.build("z-early", queuedTime="2026-01-01T00:00:01.000Z", **waiting)
    made = restored(cluster)
    assert cluster.woken == [names.Key("team", "z-early")]
    assert await cluster.claim(made, late, since=9.0) is not None


@pytest.mark.parametrize("gone", [False, True])
async def test_a_pod_that_is_still_ending_keeps_the_place_also_of_an_object_that_is_gone(gone):
    cluster = Cluster(max_builds=1)
    body, other = cluster.build("a"), cluster.build("b")
    made = restored(cluster)
    assert await cluster.claim(made, body) is None
    pod = cluster.pod("a")
    if gone:
        cluster.frame.cache[names.IMAGEBUILDS].remove(body)
        made.leave(names.Key("team", "a"))
    else:
        made.settle(cluster.see(body), case.Decision())
    assert await cluster.claim(made, other) == queueing.Standing(1, "Cluster", 1, 1)
    pod["status"]["phase"] = "Succeeded"
    cluster.put(names.PODS, pod)
    made.leave(names.Key("team", "a"))
    assert cluster.woken == [names.Key("team", "b")]


async def test_a_build_hands_its_place_on_to_the_one_that_follows_it_also_before_it_has_a_pod():
    cluster = Cluster(max_builds=1)
    body, other = cluster.build("a"), cluster.build("b")
    made = restored(cluster)
    assert await cluster.claim(made, body) is None
    assert await cluster.claim(made, other) == queueing.Standing(1, "Cluster", 1, 1)
    made.settle(cluster.see(body), case.Decision(follows=True))
    assert cluster.woken == []
    assert await cluster.claim(made, body, since=99.0) is None
    made.settle(cluster.see(body), case.Decision())
    assert cluster.woken == [names.Key("team", "b")]


@pytest.mark.parametrize(("since", "first"), [(99.0, False), (-1.0, True)])
async def test_a_build_that_is_wanted_while_the_last_one_of_its_image_ends_comes_by_its_rank(since, first):
    """As when its base image moves in the second in which its pod ends."""
    cluster = Cluster(max_builds=1)
    body, other = cluster.build("a"), cluster.build("b")
    made = restored(cluster)
    assert await cluster.claim(made, body) is None
    pod = cluster.pod("a")
    made.settle(cluster.see(body), case.Decision(active=True))
    made.settle(cluster.see(cluster.build("a", phase="Succeeded")), case.Decision())
    assert await cluster.claim(made, other) is not None
    made.settle(cluster.see(body), case.Decision(follows=True))
    pod["status"]["phase"] = "Succeeded"
    cluster.put(names.PODS, pod)
    assert (await cluster.claim(made, body, since=since) is None) is first
    assert cluster.woken == ([] if first else [names.Key("team", "b")])
    assert (await cluster.claim(made, other) is None) is not first


async def test_a_build_that_follows_one_of_before_a_restart_comes_by_its_rank():
    cluster = Cluster(max_builds=1)
    body, other = cluster.build("a", phase="Succeeded"), cluster.build("b")
    pod = cluster.pod("a")
    made = restored(cluster)
    assert await cluster.claim(made, other) is not None
    made.settle(cluster.see(body), case.Decision(follows=True))
    body = cluster.build("a", phase="Pending")
    made.settle(cluster.see(body), case.Decision(follows=True))
    pod["status"]["phase"] = "Succeeded"
    cluster.put(names.PODS, pod)
    assert await cluster.claim(made, body, since=99.0) is not None
    assert cluster.woken == [names.Key("team", "b")]


@pytest.mark.parametrize("fails", [True, False])
async def test_a_build_that_takes_a_place_over_keeps_it_whatever_it_waits_for_while_the_pod_before_it_ends(fails):
    cluster = Cluster(max_builds=1)
    body, other = cluster.build("a"), cluster.build("b")
    made = restored(cluster)
    assert await cluster.claim(made, body) is None
    pod = cluster.pod("a")
    made.settle(cluster.see(body), case.Decision(active=True))
    assert await cluster.claim(made, other) is not None
    made.settle(cluster.see(body), case.Decision(follows=True))
    body = cluster.build("a", phase="Pending")
    if fails:
        made.leave(names.Key("team", "a"))  # a question that the API server did not answer
    else:
        made.settle(cluster.see(body), case.Decision())  # its source cannot be asked
    made.settle(cluster.see(body), case.Decision(follows=True))
    pod["status"]["phase"] = "Failed"
    cluster.put(names.PODS, pod)
    assert await cluster.claim(made, body, since=99.0) is None
    assert cluster.woken == []


async def test_pods_that_are_there_when_an_operator_starts_count():
    cluster = Cluster(max_builds=1)
    body = cluster.build("b")
    cluster.pod("of-one-that-is-gone")
    made = restored(cluster)
    assert await cluster.claim(made, body) == queueing.Standing(1, "Cluster", 1, 1)


async def test_a_suspended_job_is_no_running_build_and_counts_when_it_runs():
    cluster = Cluster(max_builds=1)
    body = cluster.build("queued", phase="Starting", job="j")
    job = {"metadata": {"name": "j", "namespace": "team", "uid": "j"}, "spec": {"suspend": True}}
    cluster.put(names.JOBS, job)
    made = restored(cluster)
    assert await cluster.claim(made, cluster.build("b")) is None
    made.settle(cluster.see(body), case.Decision(active=True))  # Kueue has let it go
    made.leave(names.Key("team", "b"))
    assert await cluster.claim(made, cluster.build("c")) == queueing.Standing(1, "Cluster", 1, 1)


async def test_who_neither_runs_nor_waits_gives_back_what_was_given():
    cluster = Cluster(max_builds=1)
    first, second = cluster.build("a"), cluster.build("b")
    made = restored(cluster)
    assert await cluster.claim(made, first) is None
    assert await cluster.claim(made, second) is not None
    made.settle(cluster.see(second), case.Decision(queued=True))
    made.settle(cluster.see(first), case.Decision())
    assert cluster.woken == [names.Key("team", "b")]
    assert await cluster.claim(made, second) is None
