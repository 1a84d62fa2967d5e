"""Whole lives of the operator against an API server and a registry over real sockets, ended at every single write."""

import base64
import contextlib
import copy
import dataclasses
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import cache, conditions, controller, imagebuild, kube, kubesession, metrics, names, settings
from strata_operator.imagebuild import observe, orphans, questions, reconcile, remote, retry
from strata_operator.imagebuild.triggers import asking
from support import hooking
from support import imagebuilds as ib
from support.certificates import Authority
from support.fake_kube import FakeKube
from support.fake_registry import FakeRegistry

pytestmark = pytest.mark.asyncio
KEY = names.Key("team", "web")
RESOURCES = (
    names.IMAGEBUILDS, names.REGISTRIES, names.NAMESPACES, names.JOBS, names.PODS, names.CONFIGMAPS, names.SECRETS,
    names.EVENTS, names.NODES,
)  # fmt: skip
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


#: Of a build that is asked for and goes well: the status thrice (starting, running where the pod is not over by then,
#: ended), ConfigMap and Job made, the event of the end, the Job's time to live, the ConfigMap deleted.
WRITES = 8 - 1


class Killed(BaseException):
    """kill -9: nothing of the operator runs on."""


class Cluster:
    """A fake API server with a Registry, a namespace and one ImageBuild; its kubelet ends every pod well at once."""

    def __init__(self, fake: FakeKube, registry: FakeRegistry) -> None:
        self.fake = fake
        self.registry = registry
        self.now = ib.NOW
        self.pods_end = True
        self.made: list[str] = []  # Jobs that had a pod
        body = ib.registry(external={"host": registry.host, "insecure": True})
        body["status"] |= {"endpoints": {"push": registry.host, "node": registry.host}, "insecure": True}
        del body["status"]["credentials"]
        fake.put(names.REGISTRIES, body)
        fake.put(names.NAMESPACES, ib.namespace("restricted"))
        self.put(ib.build(source={"inline": {"a": "1"}}))

    def put(self, body: Any) -> None:
        del body["metadata"]["resourceVersion"]
        self.fake.put(names.IMAGEBUILDS, body)

    @property
    def body(self) -> Any:
        return self.fake.get(names.IMAGEBUILDS, *KEY)

    @property
    def status(self) -> Any:
        return self.body["status"]

    def condition(self, kind: str, name: str = "web") -> Any:
        """A condition of an ImageBuild, None if it is absent."""
        body: Any = self.fake.get(names.IMAGEBUILDS, "team", name)
        return conditions.find(body["status"].get("conditions"), kind)

    def ready(self) -> bool:
        generation = self.body["metadata"]["generation"]
        return conditions.is_true(self.status.get("conditions"), "Ready", generation=generation)

    def edit(self, **spec: Any) -> None:
        body = copy.deepcopy(self.body)
        body["spec"] |= spec
        body["metadata"]["generation"] = self.body["metadata"]["generation"] + 1
        self.fake.put(names.IMAGEBUILDS, body)

    def jobs(self) -> list[Any]:
        return list(self.fake.objects[names.JOBS].values())

    def kubelet(self) -> None:
        """Every Job has its pod; pods push an image of their own and end."""
        for job in self.jobs():
            name = job["metadata"]["name"]
            if name not in self.made:
                self.made.append(name)
            if self.fake.get(names.PODS, "team", f"{name}-x") is None:
                self.fake.put(names.PODS, self.pod_of(job))
                if self.pods_end:
                    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
                    self.fake.put(names.JOBS, copy.deepcopy(job) | {"status": ended})

    def pod_of(self, job: Any) -> Any:
        template = job["spec"]["template"]["metadata"]
        statuses = [ib.running()]
        if self.pods_end:
            statuses = [ib.ended(message=ib.result(self.push(job)))]
        body = ib.pod(job, containerStatuses=statuses, phase="Succeeded" if self.pods_end else "Running")
        body["metadata"] |= {"labels": template["labels"], "annotations": template["annotations"]}
        return body

    def push(self, job: Any) -> str:
        config = self.registry.add_blob("team/web", b"{}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [],
            "annotations": {"job": job["metadata"]["name"]},
        }
        return self.registry.add_manifest("team/web", json.dumps(manifest).encode(), MANIFEST)

    def tag(self, name: str = "latest") -> str | None:
        found = remote.Access(self.registry.host, insecure=True).open()
        try:
            head = found.head_manifest("team/web", name)
            return head.digest if head else None
        finally:
            found.close()

    def whose(self, digest: str) -> str:
        found = remote.Access(self.registry.host, insecure=True).open()
        try:
            return str(json.loads(found.manifest("team/web", digest).data)["annotations"]["job"])
        finally:
            found.close()


class Operator:
    """One life. `at_write` is called with the number of each write, before it (False) and after it (True)."""

    def __init__(
        self, cluster: Cluster, client: kube.Kube, at_write: Callable[[int, bool], None], **options: Any
    ) -> None:
        self.cluster = cluster
        chosen = settings.Settings(namespace="strata-system", **({"poll_allowed_cidrs": ("127.0.0.0/8",)} | options))
        self.frame = controller.Frame(chosen, metrics.Metrics(), client)
        for part in imagebuild.controllers(self.frame):
            self.frame.add(part)
        self.work = reconcile.Reconciler(self.frame, clock=lambda: cluster.now)
        self.at_write = at_write
        self.writes = 0
        for name in ("create", "patch", "patch_status", "delete"):
            setattr(client, name, self._watched(getattr(client, name)))
        known = self.work._answers._by_kind  # the tags are written by an answer: a write like the others
        self.work._answers._by_kind = {**known, questions.Tag: self._watched(known[questions.Tag])}

    def _watched(self, method: Any) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            number = self.writes
            self.writes += 1
            self.at_write(number, False)
            answer = await method(*arguments, **options)
            self.at_write(number, True)
            return answer

        return call

    async def look(self) -> float | None:
        """One reconcile, with a cache that is up to date."""
        for resource in self.frame.cache.stores:
            await self.frame.cache.refresh(resource, self.frame.kube)
        with contextlib.suppress(kube.Conflict):
            return await self.work.reconcile(KEY)
        return 0.0

    async def run(self, until: Callable[[], bool] = lambda: False, most: int = 40) -> None:
        for _ in range(most):
            wait = await self.look()
            self.cluster.kubelet()
            self.cluster.now += min(wait if wait is not None else 1.0, 5.0)
            if until():
                return


@contextlib.asynccontextmanager
async def clustered(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    fake = FakeKube(*RESOURCES)
    with fake.serving(tmp_path) as config, FakeRegistry() as registry:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield Cluster(fake, registry)


@contextlib.asynccontextmanager
async def alive(
    cluster: Cluster, at_write: Callable[[int, bool], None] = lambda _n, _after: None, **options: Any
) -> AsyncIterator[Operator]:
    client = kube.Kube(await kubesession.connect(metrics.Metrics()))
    try:
        yield Operator(cluster, client, at_write, **options)
    finally:
        await client.close()


def settled(cluster: Cluster) -> bool:
    """Ready, and nothing left to do."""
    ended = all("ttlSecondsAfterFinished" in job["spec"] for job in cluster.jobs())
    return cluster.ready() and ended and not cluster.fake.objects[names.CONFIGMAPS]


async def test_a_build_goes_from_apply_to_ready(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert cluster.tag() == cluster.status["digest"]
        assert cluster.status["image"] == f"{cluster.registry.host}/team/web@{cluster.status['digest']}"
        assert len(cluster.made) == 1
        assert operator.writes == WRITES + 3 + 1  # dry runs, and the tags of the registry
        notes = [e["reason"] for e in cluster.fake.objects[names.EVENTS].values()]
        assert notes == ["Succeeded"]
        text = operator.frame.metrics.render().decode()
        assert 'strata_builds_total{reason="Succeeded",result="succeeded"} 1.0' in text


async def test_an_external_registry_at_an_address_of_the_cluster_is_not_asked(tmp_path, monkeypatch):
    """Its Registry would not be Ready; a name that has another address since then must not lead there either."""
    async with clustered(tmp_path, monkeypatch) as cluster:
        async with alive(cluster, poll_allowed_cidrs=()) as operator:
            await operator.run(most=6)
        said = cluster.condition("Building")
        assert (said["reason"], "the operator does not ask it" in said["message"]) == ("RegistryUnavailable", True)
        assert cluster.tag() is None
        async with alive(cluster) as operator:  # an administrator has allowed it
            await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert len(cluster.made) == 1


async def test_a_webhook_whose_token_can_no_longer_be_read_says_so_at_the_first_delivery(tmp_path, monkeypatch):
    """It is looked at within the hour anyway, and strangers can deliver: one look a minute."""
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster, webhook_listen="0.0.0.0:8090") as operator:
        cluster.fake.put(names.SECRETS, hooking.secret("hook", token="x"))
        cluster.edit(triggers={"webhook": {"secretRef": {"name": "hook"}}})
        await operator.run(lambda: settled(cluster))
        assert cluster.condition("Webhook") is None
        cluster.fake.remove(names.SECRETS, "team", "hook")
        woken = []
        monkeypatch.setattr(operator.frame, "enqueue", lambda kind, key, delay=0.0: woken.append((kind, key)))
        for _ in range(20):
            operator.frame.hints.deaf(cluster.body)
        assert woken == [(reconcile.KIND, KEY)]
        await operator.look()
        assert cluster.condition("Webhook")["reason"] == "ReferenceNotFound"
        cluster.now += 61
        operator.frame.hints.deaf(cluster.body)
        assert len(woken) == 2


async def test_writes_whose_answers_are_lost_are_counted_and_told_once(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        for _ in range(40):
            cluster.fake.faults.clear()
            lost = {"status": 504, "after": True, "headers": {"Retry-After": "0"}}
            cluster.fake.fail("PATCH", "imagebuilds/web/status$", **lost)
            await operator.run(most=1)
            if settled(cluster):
                break
        assert settled(cluster)
        assert len(cluster.made) == 1
        notes = [e["reason"] for e in cluster.fake.objects[names.EVENTS].values()]
        assert notes == ["Succeeded"]
        text = operator.frame.metrics.render().decode()
        assert 'strata_builds_total{reason="Succeeded",result="succeeded"} 1.0' in text


async def test_a_conflict_after_a_lost_answer_is_one_where_somebody_else_has_written(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        observed = cluster.body
        cluster.fake.put(names.IMAGEBUILDS, {**copy.deepcopy(observed), "status": {"size": 7}})
        cluster.fake.fail("PATCH", "imagebuilds/web/status$", 504, headers={"Retry-After": "0"})
        with pytest.raises(kube.Conflict):
            await operator.frame.kube.patch_status(names.IMAGEBUILDS, observed, {"size": 8})
        assert cluster.status["size"] == 7


async def test_a_finished_build_is_left_alone(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        before = operator.writes
        for _ in range(5):
            cluster.now += 700
            await operator.look()
        assert operator.writes == before


async def test_an_image_that_has_vanished_from_its_registry_is_built_and_tagged_again(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        cluster.registry.manifests["team/web"].clear()
        cluster.now += 7 * 3600
        await operator.run(lambda: cluster.status["current"]["number"] == 2 and settled(cluster))
        assert [build["reason"] for build in cluster.status["builds"]] == ["ImageLost", "SpecChanged"]
        assert cluster.tag() == cluster.status["digest"]
        assert len(cluster.made) == 2


@pytest.mark.parametrize("what", ["a label", "an annotation", "a field of the status", "the same again"])
async def test_what_others_write_on_a_finished_build_starts_nothing_and_is_not_written_over_for_ever(
    tmp_path, monkeypatch, what
):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        body = copy.deepcopy(cluster.body)
        if what == "a label":
            body["metadata"].setdefault("labels", {})["team"] = "a"
        elif what == "an annotation":
            body["metadata"].setdefault("annotations", {})["example.com/note"] = "seen"
        elif what == "a field of the status":
            body["status"]["size"] = 1
        cluster.fake.put(names.IMAGEBUILDS, body)
        await operator.run(most=3)
        before = operator.writes
        for _ in range(12):
            cluster.now += 5
            await operator.look()
        assert operator.writes == before
        assert len(cluster.made) == 1
        assert settled(cluster)


async def count_writes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        return operator.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_operator_killed_at_any_write_and_started_again_continues_rightly(tmp_path, monkeypatch, after):
    (tmp_path / "count").mkdir()
    writes = await count_writes(tmp_path / "count", monkeypatch)
    assert writes >= 9
    for fatal in range(writes):
        folder = tmp_path / f"{fatal}"
        folder.mkdir()
        async with clustered(folder, monkeypatch) as cluster:

            def kill(number: int, done: bool, fatal: int = fatal) -> None:
                if number == fatal and done == after:
                    raise Killed

            with contextlib.suppress(Killed):
                async with alive(cluster, kill) as first:
                    await first.run(lambda: settled(cluster), most=15)
            cluster.now += 60
            async with alive(cluster) as second:
                await second.run(lambda: settled(cluster))
            assert settled(cluster), f"write {fatal}: {cluster.status}"
            assert cluster.tag() == cluster.status["digest"]
            assert len(cluster.made) == 1, f"write {fatal} made {cluster.made}"
            assert cluster.status["current"]["attempt"] == 1
            assert [b["result"] for b in cluster.status["builds"]] == ["Succeeded"]


async def test_a_spec_edited_at_any_write_ends_with_the_tag_on_the_new_build(tmp_path, monkeypatch):
    (tmp_path / "count").mkdir()
    writes = await count_writes(tmp_path / "count", monkeypatch)
    for moment in range(writes):
        folder = tmp_path / f"{moment}"
        folder.mkdir()
        async with clustered(folder, monkeypatch) as cluster:

            def edit(number: int, done: bool, moment: int = moment, cluster: Cluster = cluster) -> None:
                if number == moment and not done:
                    cluster.edit(labels={"v": "2"})

            async with alive(cluster, edit) as operator:
                await operator.run(lambda: cluster.body["metadata"]["generation"] == 2 and settled(cluster))
            assert settled(cluster), f"write {moment}: {cluster.status}"
            success = cluster.status["lastSuccess"]
            assert success["generation"] == 2
            assert cluster.tag() == success["digest"] == cluster.status["digest"]
            assert cluster.whose(success["digest"]) == cluster.status["current"]["job"]
            assert len(cluster.made) == len(set(cluster.made)) <= 2


async def test_a_status_that_somebody_else_wrote_first_wins_and_no_job_is_made_from_the_old_one(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        for resource in operator.frame.cache.stores:
            await operator.frame.cache.refresh(resource, operator.frame.kube)
        cluster.edit(labels={"v": "2"})
        with pytest.raises(kube.Conflict):
            await operator.work.reconcile(KEY)
        assert cluster.jobs() == []


@pytest.mark.parametrize("after_look", [True, False], ids=["before the look", "between look and Job"])
async def test_a_job_of_our_name_that_is_not_ours_is_left_alone_and_the_next_number_is_built(
    tmp_path, monkeypatch, after_look
):
    async with clustered(tmp_path, monkeypatch) as cluster:
        names_of: list[str] = []

        def steal(number: int, done: bool) -> None:
            current = cluster.status.get("current") or {}
            if current.get("job") and not names_of and not cluster.jobs():
                names_of.append(current["job"])
                owner = [
                    {"kind": "ImageBuild", "apiVersion": names.API_VERSION, "name": "web", "uid": "an-earlier-one"}
                ]
                stranger = {"name": current["job"], "namespace": "team", "ownerReferences": owner}
                stranger["labels"] = {names.LABEL_MANAGED_BY: names.OPERATOR}
                cluster.fake.put(names.JOBS, {"metadata": stranger, "spec": {"template": {"metadata": {}}}})
                if after_look:
                    raise Killed

        with contextlib.suppress(Killed):
            async with alive(cluster, steal) as first:
                cluster.pods_end = False
                await first.look()
                await first.look()
        assert names_of
        async with alive(cluster) as operator:
            for _ in range(6):
                await operator.look()
        stranger = cluster.fake.get(names.JOBS, "team", names_of[0])
        assert stranger["metadata"]["ownerReferences"][0]["uid"] == "an-earlier-one"
        assert cluster.status["current"]["number"] == 2
        (ours,) = (job for job in cluster.jobs() if job["metadata"]["name"] != names_of[0])
        assert ours["metadata"]["ownerReferences"][0]["uid"] == cluster.body["metadata"]["uid"]
        said = [e["note"] for e in cluster.fake.objects[names.EVENTS].values()]
        assert any(names_of[0] in text and "left alone" in text and "number 2" in text for text in said)


async def test_a_config_map_of_our_name_that_is_not_ours_is_neither_used_nor_touched(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: bool(cluster.jobs()), most=2)
        wanted = copy.deepcopy(cluster.fake.objects[names.CONFIGMAPS])
        for key, body in wanted.items():
            cluster.fake.put(names.CONFIGMAPS, {**body, "data": {**body["data"], "request.json": "{}"}})
            cluster.fake.objects[names.CONFIGMAPS][key]["metadata"]["ownerReferences"] = []
        cluster.fake.remove(names.JOBS, "team", cluster.jobs()[0]["metadata"]["name"])
        planned = questions.Job("sib-web-again", 1, 1, 1, cluster.status["current"]["inputs"], "Layers", "team/web")
        seen = observe.observe(operator.frame, operator.frame.cache[names.IMAGEBUILDS].get(*KEY) or {})
        with pytest.raises(kube.KubeError, match="left alone"):
            await operator.work._start(seen, dataclasses.replace(planned, name="sib-web-1"))
        assert cluster.jobs() == []
        assert [e["reason"] for e in cluster.fake.objects[names.EVENTS].values() if e["type"] == "Warning"] == [
            "NameTaken"
        ]


async def test_an_object_made_again_under_its_old_name_gets_a_job_of_its_own(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: bool(cluster.made))
        first = cluster.made[0]
        cluster.fake.remove(names.IMAGEBUILDS, *KEY)
        assert cluster.jobs() == []
        await operator.look()
        cluster.put(ib.build(uid="99999999-2222-3333-4444-555555555555", source={"inline": {"a": "1"}}))
        cluster.pods_end = True
        await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert cluster.status["current"]["job"] != first


@pytest.mark.parametrize("again", [True, False])
async def test_a_job_that_the_garbage_collector_has_passed_over_is_deleted(tmp_path, monkeypatch, again):
    monkeypatch.setattr(orphans, "PATIENCE", 0.0)
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: bool(cluster.made))
        (passed_over,) = (cache.uid(job) for job in cluster.jobs())
        cluster.fake.vanish(names.IMAGEBUILDS, *KEY)
        if again:
            cluster.put(ib.build(uid="99999999-2222-3333-4444-555555555555", source={"inline": {"a": "1"}}))
        await operator.look()
        await operator.look()
        assert passed_over not in map(cache.uid, cluster.jobs())
        assert bool(cluster.jobs()) == again


async def test_no_more_builds_run_at_once_than_the_limit_and_the_next_is_woken(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        limited = dataclasses.replace(operator.frame.settings, max_builds=1)
        operator.frame.settings = limited
        operator.work = reconcile.Reconciler(operator.frame, clock=lambda: cluster.now)
        cluster.pods_end = False
        other = ib.build(name="other", uid="other-uid")
        del other["metadata"]["resourceVersion"]
        cluster.fake.put(names.IMAGEBUILDS, other)
        await operator.look()
        await operator.work.reconcile(names.Key("team", "other"))
        assert cluster.condition("Ready", "other")["reason"] == "Queued"
        assert b'strata_builds{state="queued"} 1.0' in operator.frame.metrics.render()
        assert len(cluster.jobs()) == 1
        woken: list[Any] = []
        monkeypatch.setattr(operator.frame, "enqueue", lambda kind, key, delay=0.0: woken.append((kind, key)))
        cluster.pods_end = True
        await operator.run(lambda: bool(woken))
        assert ("imagebuild", names.Key("team", "other")) in woken


async def test_a_registry_that_is_down_for_a_while_costs_nothing(tmp_path, monkeypatch):
    from support.fake_registry import Answer

    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.registry.fault("HEAD", "/manifests/sha256", *(Answer(503) for _ in range(4)))
        await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert len(cluster.made) == 1
        assert cluster.registry.unused_faults() == 0


async def test_the_result_of_a_vanished_pod_is_read_from_the_cache_artifact(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: cluster.status.get("current", {}).get("phase") == "Running")
        job = cluster.jobs()[0]
        digest = cluster.push(job)
        note = {"v": 1, "steps": {}, "builds": {f"{cluster.body['metadata']['uid']}/1/1/linux/amd64": digest}}
        data = json.dumps(note).encode()
        config = cluster.registry.add_blob("team/web", data)
        artifact = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.strata.cache.v1+json", "digest": config, "size": len(data)},
            "layers": [],
        }
        cluster.registry.add_manifest("team/web", json.dumps(artifact).encode(), MANIFEST, "cache-linux-amd64")
        cluster.fake.remove(names.JOBS, "team", job["metadata"]["name"])
        await operator.run(cluster.ready)
        assert cluster.ready()
        assert cluster.status["digest"] == digest
        assert len(cluster.made) == 1


async def test_a_pod_that_vanished_without_a_note_is_tried_again(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: cluster.status.get("current", {}).get("phase") == "Running")
        cluster.fake.remove(names.JOBS, "team", cluster.jobs()[0]["metadata"]["name"])
        cluster.pods_end = True
        await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert len(cluster.made) == 2
        assert cluster.status["current"]["attempt"] == 2


async def test_a_refused_pod_is_told_at_once_in_the_servers_own_words(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.fake.fail("POST", "/pods$", 403, reason="Forbidden")
        await operator.look()
        assert cluster.jobs() == []
        assert cluster.status["current"]["phase"] in ("Retrying", "Failed")


DENIED = (
    "ValidatingAdmissionPolicy 'small' with binding 'small' denied request: builds are not for this namespace",
    'admission webhook "w.example.org" denied the request: not here',
)


@pytest.mark.parametrize("message", DENIED)
@pytest.mark.parametrize("code", [400, 401, 403, 409, 413, 418, 422])
async def test_a_rule_may_refuse_with_any_code(tmp_path, monkeypatch, code, message):
    """A policy chooses of four reasons (validations[].reason), a webhook whatever it likes."""
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        # The pod is asked for with a controller and without.
        cluster.fake.fail("POST", "/pods$", code, times=2, reason="Because", message=message)
        await operator.look()
        found = cluster.condition("Stalled")
        assert found["reason"] == "PodRejected"
        assert message in found["message"]


BEYOND = (
    'Pod "sib-web-1-1-abc-check" is invalid: spec.containers[1].resources.requests: Invalid value: "256Mi": '
    "must be less than or equal to memory limit of 128Mi"
)


@pytest.mark.parametrize(
    ("resources", "reason"),
    [({}, "PodRejected"), ({"requests": {"memory": "256Mi"}, "limits": {"memory": "128Mi"}}, "InvalidSpec")],
    ids=["of a LimitRange", "of the spec"],
)
async def test_a_limit_below_what_is_requested_is_told_by_whose_it_is(tmp_path, monkeypatch, resources, reason):
    """A LimitRange gives a container that has no limit its default one, whatever that container requests."""
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.edit(pod={"resources": resources})
        cluster.fake.fail("POST", "/pods$", 422, reason="Invalid", message=BEYOND)
        await operator.look()
        found = cluster.condition("Stalled")
        assert found["reason"] == reason
        assert "must be less than or equal to memory limit of 128Mi" in found["message"]
        assert ("LimitRange" in found["message"]) == (reason == "PodRejected")


async def test_contents_reach_the_pod_although_the_cache_holds_only_digests(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.pods_end = False
        await operator.run(lambda: bool(cluster.jobs()))
        cached: Any = operator.frame.cache[names.IMAGEBUILDS].get(*KEY)
        assert cached["spec"]["source"]["inline"]["a"] != "1"
        (found,) = (m["data"] for m in cluster.fake.objects[names.CONFIGMAPS].values())
        assert (found["f0"], found["Dockerfile"]) == ("1", "FROM scratch\nCOPY a /\n")


async def test_pods_and_the_operator_trust_the_registrys_authorities_and_the_charts(tmp_path, monkeypatch):
    registrys, charts = (Authority(name).pem.decode() for name in ("registry", "chart"))
    async with clustered(tmp_path, monkeypatch) as cluster:
        body = copy.deepcopy(cluster.fake.get(names.REGISTRIES, "team", "main"))
        body["status"]["caBundle"] = registrys
        cluster.fake.put(names.REGISTRIES, body)
        (tmp_path / "ca.crt").write_text(f"# für alle\n{charts}")
        async with alive(cluster, ca_bundle_file=str(tmp_path / "ca.crt")) as operator:
            cluster.pods_end = False
            asked: list[str] = []
            monkeypatch.setattr(remote, "published", lambda access, *_: asked.append(access.ca) or True)
            await operator.run(lambda: bool(cluster.jobs()), most=3)
            held = [c["data"] for c in cluster.fake.objects[names.CONFIGMAPS].values() if "request.json" in c["data"]]
            assert [data["ca.crt"] for data in held] == [registrys + charts]
            cluster.pods_end = True
            cluster.fake.remove(names.PODS, "team", f"{cluster.made[0]}-x")
            await operator.run(lambda: settled(cluster))
    assert asked[0] == registrys + charts


@pytest.mark.parametrize("asked", [questions.UserNamespaces(), questions.ImageVolumes()], ids=["users", "images"])
async def test_what_a_pod_has_found_out_holds_for_all_builds_and_is_tried_again_after_hours(
    tmp_path, monkeypatch, asked
):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        handlers = [{"features": {"userNamespaces": True}}]
        cluster.fake.put(names.NODES, {"metadata": {"name": "node"}, "status": {"runtimeHandlers": handlers}})
        await operator.look()
        seen = observe.observe(operator.frame, cluster.body)
        ask = operator.work._answers.answer
        assert await ask(seen, asked) is True
        await ask(seen, questions.Remember(asked, answer=False))
        assert await ask(seen, asked) is False
        cluster.now += 5 * 3600
        assert await ask(seen, asked) is False
        cluster.now += 2 * 3600
        assert await ask(seen, asked) is True


@pytest.mark.parametrize(
    ("handlers", "able"),
    [
        ({"": True, "gvisor": False}, True),
        ({"": False, "kata": True}, False),
        ({"kata": True}, True),
        ({}, False),
    ],
)
async def test_a_node_has_user_namespaces_where_its_default_runtime_has_them(tmp_path, monkeypatch, handlers, able):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        told = [{"name": name, "features": {"userNamespaces": has}} for name, has in handlers.items()]
        cluster.fake.put(names.NODES, {"metadata": {"name": "node"}, "status": {"runtimeHandlers": told}})
        await operator.look()
        seen = observe.observe(operator.frame, cluster.body)
        assert await operator.work._answers.answer(seen, questions.UserNamespaces()) is able


@pytest.mark.parametrize(("setting", "expected"), [("Always", True), ("Never", False)])
async def test_the_chart_can_say_how_the_builder_gets_into_pods(tmp_path, monkeypatch, setting, expected):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster, image_volumes=setting) as operator:
        await operator.look()
        seen = observe.observe(operator.frame, cluster.body)
        await operator.work._answers.answer(seen, questions.Remember(questions.ImageVolumes(), answer=False))
        assert await operator.work._answers.answer(seen, questions.ImageVolumes()) is expected


async def test_a_broken_inline_dockerfile_is_told_with_line_and_caret_and_makes_nothing(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.edit(dockerfile={"inline": "FROM scratch\nCPOY a /\n"})
        await operator.run(most=3)
        stalled = cluster.condition("Stalled")
        assert stalled["reason"] == "DockerfileInvalid"
        assert "Dockerfile:2" in stalled["message"]
        assert "COPY" in stalled["message"]
        assert cluster.jobs() == []


async def test_a_private_source_without_the_binding_shows_the_command(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        source = {"url": "https://git.invalid/a.git", "revision": "main", "secretRef": {"name": "git"}}
        cluster.edit(
            source={"git": source}, triggers={"git": {"pollInterval": "10s"}}, dockerfile={"path": "Dockerfile"}
        )
        for _ in range(40):
            cluster.fake.fail("GET", "/secrets/git$", 403, reason="Forbidden")
        await operator.run(cluster.ready, most=15)
        assert cluster.ready()
        await operator.look()
        polling = cluster.condition("Polling")
        assert polling["reason"] == "AccessNotGranted"
        assert "kubectl create rolebinding strata-secret-reader --namespace team" in polling["message"]


async def test_a_missing_source_secret_is_named(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        source = {"url": "https://git.invalid/a.git", "revision": "main", "secretRef": {"name": "git"}}
        cluster.edit(source={"git": source}, dockerfile={"path": "Dockerfile"})
        await operator.run(most=3)
        stalled = cluster.condition("Stalled")
        assert (stalled["reason"], "Secret git" in stalled["message"]) == ("ReferenceNotFound", True)


async def test_an_unreadable_secret_is_no_crash(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        data = {"wrong": base64.b64encode(b"x").decode()}
        cluster.fake.put(names.SECRETS, {"metadata": {"name": "git", "namespace": "team"}, "data": data})
        source = {"url": "https://git.invalid/a.git", "revision": "main", "secretRef": {"name": "git"}}
        cluster.edit(source={"git": source}, dockerfile={"path": "Dockerfile"})
        await operator.run(most=3)
        stalled = cluster.condition("Stalled")
        assert stalled["reason"] == "SourceAuthFailed"


async def test_status_is_small_and_has_only_fields_of_the_schema(tmp_path, monkeypatch):
    from pathlib import Path

    import yaml

    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        await operator.run(lambda: settled(cluster))
        crd = yaml.safe_load((Path(__file__).parents[4] / "crds" / "imagebuilds.strata.build.yaml").read_text())
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert list(unknown(cluster.status, schema, "status")) == []
        assert len(json.dumps(cluster.status)) < 4096


def unknown(value: Any, schema: Any, path: str) -> Any:
    """Paths of fields that the schema does not have, or that have another type."""
    kinds: Any = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if not isinstance(value, kinds[schema["type"]]):
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in schema.get("properties", {}):
                yield f"{path}.{name}"
            else:
                yield from unknown(item, schema["properties"][name], f"{path}.{name}")
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from unknown(item, schema["items"], f"{path}[{n}]")


async def test_a_missing_secret_that_may_be_read_is_found_without_a_pod_and_goes_on_when_it_appears(
    tmp_path, monkeypatch
):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.edit(secrets=[{"id": "npmrc", "secretRef": {"name": "npm", "key": ".npmrc"}}])
        assert await operator.look() == 10
        assert cluster.condition("Stalled")["reason"] == "ReferenceNotFound"
        assert "Secret npm" in cluster.condition("Stalled")["message"]
        cluster.fake.put(names.SECRETS, {"metadata": {"name": "npm", "namespace": "team"}, "data": {"other": "eA=="}})
        await operator.look()
        assert "no key .npmrc" in cluster.condition("Stalled")["message"]
        assert cluster.jobs() == []
        cluster.fake.put(names.SECRETS, {"metadata": {"name": "npm", "namespace": "team"}, "data": {".npmrc": "eA=="}})
        await operator.run(lambda: settled(cluster))
        assert settled(cluster)
        assert cluster.status["current"]["number"] == 1


async def test_secrets_that_may_not_be_read_are_left_to_the_kubelet(tmp_path, monkeypatch):
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        cluster.edit(secrets=[{"id": "npmrc", "secretRef": {"name": "npm", "key": ".npmrc"}}])
        cluster.fake.fail("GET", "/secrets/npm$", 403, reason="Forbidden")
        await operator.look()
        assert len(cluster.jobs()) == 1


async def test_a_branch_that_is_not_there_is_asked_for_only_when_its_time_has_come(tmp_path, monkeypatch):
    asked: list[float] = []
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:

        async def ask(*_: Any, **__: Any) -> contract.Failure:
            asked.append(cluster.now - ib.NOW)
            return contract.Failure("ReferenceNotFound", "no branch nope")

        monkeypatch.setattr(asking.Asker, "ask", ask)
        source = {"git": {"url": "https://git.invalid/a.git", "revision": "nope"}}
        cluster.edit(source=source, dockerfile={"path": "Dockerfile"})
        for _ in range(50):
            await operator.look()
            cluster.now += 10
        expected = [0.0]
        for checks in range(3):  # 1, 2 and 4 minutes less their jitter; it is looked at every ten seconds
            expected.append(math.ceil((expected[-1] + retry.check_delay(checks, ib.UID)) / 10) * 10.0)
        assert asked == expected
        assert len(cluster.status["builds"]) == 1


async def test_a_build_that_is_seen_before_its_namespace_waits_for_it(tmp_path, monkeypatch):
    """Its labels say which pods it admits; each kind is watched apart, and nothing says which event comes first."""
    async with clustered(tmp_path, monkeypatch) as cluster, alive(cluster) as operator:
        namespace = cluster.fake.get(names.NAMESPACES, "", "team")
        cluster.fake.remove(names.NAMESPACES, "", "team")
        wait = await operator.look()
        assert wait is not None
        assert wait <= 5
        assert cluster.jobs() == []
        assert cluster.body["status"] == {"observedGeneration": -1}
        del namespace["metadata"]["resourceVersion"]
        cluster.fake.put(names.NAMESPACES, namespace)
        await operator.run(lambda: bool(cluster.tag()))
        assert cluster.tag()
