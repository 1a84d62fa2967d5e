"""On whose behalf base images are looked at: logins, Registries, mirrors, and what is said where that does not do."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from strata_builder.oci import mediatypes
from strata_builder.oci.reference import Reference
from strata_builder.registry import config
from strata_operator import controller, imagebuild, kube, kubesession, metrics, names, settings
from strata_operator.imagebuild import case, memory, questions
from strata_operator.imagebuild.triggers import baseknown, baseplaces, bases, basewatch, waves
from strata_operator.registry import view
from support import imagebuilds as ib
from support.fake_kube import FakeKube, Fault
from support.fake_registry import FakeRegistry

RESOURCES = (
    names.IMAGEBUILDS, names.REGISTRIES, names.NAMESPACES, names.JOBS, names.PODS, names.CONFIGMAPS, names.SECRETS,
    names.EVENTS, names.NODES,
)  # fmt: skip
REPO = "team/base"
USERS = {"u": "correct-horse"}


def login(host: str, password: str = USERS["u"]) -> str:
    auth = base64.b64encode(f"u:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


class Lab:
    """A cluster with a private registry that has one base image, and the watch that looks at it."""

    def __init__(self, fake: FakeKube, registry: FakeRegistry, client: kube.Kube, **options: Any) -> None:
        self.fake, self.registry = fake, registry
        self.name = f"{registry.host}/{REPO}"
        chosen = settings.Settings(
            namespace="strata-system",
            **({"insecure_registries": (registry.host,), "poll_allowed_cidrs": ("127.0.0.0/8",)} | options),
        )
        self.frame = controller.Frame(chosen, metrics.Metrics(), client)
        for part in imagebuild.controllers(self.frame):
            self.frame.add(part)
        self.now = ib.NOW
        self._woken: list[names.Key] = []
        self.registry_digest = ""
        self.watch = basewatch.Watch(self.frame, memory.Memory(lambda: self.now), wake=self._woken.append)

    async def wake(self) -> None:
        while await self.watch.waves.release(waves.KEY) is not None:
            pass

    async def woken(self) -> list[str]:
        """Who was woken since the last call, in order."""
        await self.wake()
        woken = [key.name for key in self._woken]
        self._woken.clear()
        return woken

    def secret(self, name: str, text: str) -> None:
        data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
        self.fake.put(names.SECRETS, {"metadata": {"name": name, "namespace": "team"}, "data": data})

    def registries(self, *bodies: Any) -> None:
        for body in bodies:
            self.fake.put(names.REGISTRIES, body)

    async def ask(self, *secrets: str, target: Any = None, name: str = "") -> bases.Seen:
        """What is known after the poller has worked."""
        for resource in self.frame.cache.stores:
            await self.frame.cache.refresh(resource, self.frame.kube)
        seen = case.Observed(ib.build(), registry=target or ib.registry(), namespace=ib.namespace())
        asked = questions.BaseImages(((name or self.name, frozenset({"sha256:old"})),), secrets, 3600)
        await self.watch.seen(seen, asked)
        for key in list(self.watch.poller._known):
            wait = await self.watch.poller.poll(key)
            if wait is not None and wait < 1:  # for its turn at the host
                await asyncio.sleep(wait)
                await self.watch.poller.poll(key)
        await self.wake()
        return await self.watch.seen(seen, asked)


@pytest.mark.asyncio
async def test_who_has_not_found_a_base_is_woken_by_its_first_build(tmp_path, monkeypatch):
    """Whatever its interval; with that of a day it would be looked for in a day."""
    monkeypatch.setattr(baseknown, "BETWEEN", 0.0)
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.secret("mine", login(lab.registry.host))
        lab.registries(managed(lab.registry.host))
        for resource in lab.frame.cache.stores:
            await lab.frame.cache.refresh(resource, lab.frame.kube)
        seen = case.Observed(ib.build(), registry=managed(lab.registry.host), namespace=ib.namespace())
        asked = questions.BaseImages(((f"{lab.name}:first", frozenset({""})),), ("mine",), 86_400)
        await lab.watch.seen(seen, asked)
        (place,) = lab.watch.poller._known
        await lab.watch.poller.poll(place)
        await lab.woken()
        put(lab.registry, "first")
        assert await lab.watch.poller.poll(place) > 3600
        base = ib.build("base")
        base["status"] = {"repository": REPO, "tags": ["first"], "digest": ib.DIGEST, "current": {"number": 1}}
        lab.watch.note(base)
        if (wait := await lab.watch.poller.poll(place)) < 60:  # for its turn at the host
            await asyncio.sleep(wait)
            await lab.watch.poller.poll(place)
        assert (await lab.watch.seen(seen, asked)).held
        await lab.wake()
        told = await lab.watch.seen(seen, asked)
        assert not told.held
        found = told.found[f"{lab.name}:first"]
        assert (found.moved(""), await lab.woken()) == (True, ["web"])


@contextlib.asynccontextmanager
async def laboratory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Lab]:
    fake = FakeKube(*RESOURCES)
    with fake.serving(tmp_path) as kubeconfig, FakeRegistry(users=USERS) as registry:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        digest = put(registry)
        client = kube.Kube(await kubesession.connect(metrics.Metrics()))
        lab = Lab(fake, registry, client, **options)
        lab.registry_digest = digest
        try:
            yield lab
        finally:
            lab.watch.close()
            lab.frame.close()
            await client.close()


def put(registry: FakeRegistry, tag: str = "latest") -> str:
    blob = {"mediaType": mediatypes.OCI_CONFIG, "digest": registry.add_blob(REPO, b"{}"), "size": 2}
    body = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": blob, "layers": []}
    return registry.add_manifest(REPO, json.dumps(body).encode(), mediatypes.OCI_MANIFEST, tag)


def managed(host: str, name: str = "main", namespace: str = "team", **access: Any) -> Any:
    body = ib.registry(namespace=namespace, name=name, managed={"storage": {"volume": {"size": "1Gi"}}}, access=access)
    del body["spec"]["external"]
    body["status"] |= {"endpoints": {"push": host}, "insecure": True}
    return body


@pytest.mark.asyncio
async def test_the_pull_secrets_of_the_spec_let_the_operator_in(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.secret("mine", login(lab.registry.host))
        seen = await lab.ask("mine")
        assert (seen.found[lab.name].digest, seen.problem) == (lab.registry_digest, None)
        assert seen.checked is not None


@pytest.mark.asyncio
async def test_a_clock_that_is_set_back_delays_no_look_and_times_are_told_by_the_new_one(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.secret("mine", login(lab.registry.host))
        ahead = time.time() + 86_400
        monkeypatch.setattr(basewatch.time, "time", lambda: ahead)
        before = await lab.ask("mine")
        monkeypatch.setattr(basewatch.time, "time", lambda: ahead - 86_400)
        after = await lab.ask("mine")
        assert before.checked == pytest.approx(ahead, abs=60)
        assert after.checked == pytest.approx(ahead - 86_400, abs=60)
        (known,) = lab.watch.poller._known.values()
        assert known.early(lab.watch.poller._clock()) <= 1.1 * 3600


@pytest.mark.asyncio
async def test_a_secret_that_may_not_be_read_is_told_with_the_command_and_without_what_is_in_it(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.fake.faults.append(Fault("GET", "/secrets/mine", 403, times=100))
        seen = await lab.ask("mine")
        assert seen.found == {}
        assert seen.problem is not None
        assert seen.problem[0] == "AccessNotGranted"
        assert "kubectl create rolebinding strata-secret-reader --namespace team" in seen.problem[1]
        assert "--serviceaccount strata-system:strata-operator" in seen.problem[1]


@pytest.mark.asyncio
async def test_a_public_base_is_seen_though_a_secret_may_not_be_read(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.registry.users = None
        lab.fake.faults.append(Fault("GET", "/secrets/mine", 403, times=100))
        seen = await lab.ask("mine")
        assert (seen.found[lab.name].digest, seen.problem) == (lab.registry_digest, None)


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["not JSON", '{"auths": []}'])
async def test_a_secret_that_is_none_is_told_and_not_shown(tmp_path, monkeypatch, text):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.secret("mine", text)
        seen = await lab.ask("mine")
        assert seen.problem is not None
        assert "Secret mine" in seen.problem[1]
        assert text not in seen.problem[1]


@pytest.mark.asyncio
async def test_a_wrong_password_is_told_and_the_right_one_is_found_when_it_comes(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.secret("mine", login(lab.registry.host, "wrong-horse"))
        seen = await lab.ask("mine")
        assert seen.problem is not None
        assert seen.problem[0] == "AccessNotGranted"
        assert "wrong-horse" not in str(seen)
        assert await lab.woken() == ["web"]
        lab.secret("mine", login(lab.registry.host))
        lab.now += 61
        seen = await lab.ask("mine")
        assert (seen.found[lab.name].digest, seen.problem) == (lab.registry_digest, None)


@pytest.mark.asyncio
async def test_a_managed_registry_that_admits_the_namespace_is_asked_with_its_login_wherever_it_is(
    tmp_path, monkeypatch
):
    async with laboratory(tmp_path, monkeypatch, poll_allowed_cidrs=(), insecure_registries=()) as lab:
        lab.secret("strata-pull", login(lab.registry.host))
        lab.registries(
            managed(lab.registry.host, "shared", "platform", namespaces="Selector", selector={"matchLabels": {}})
        )
        refused = await lab.ask()
        assert refused.problem is not None
        assert refused.problem[0] == "AddressNotAllowed"
        assert lab.registry.requests("HEAD") == []
        lab.registries(managed(lab.registry.host))
        seen = await lab.ask()
        assert (seen.found[lab.name].digest, seen.problem) == (lab.registry_digest, None)


@pytest.mark.asyncio
async def test_a_circle_is_told_and_not_looked_at(tmp_path, monkeypatch):
    async with laboratory(tmp_path, monkeypatch) as lab:
        body = ib.build(triggers={"baseImages": {"pollInterval": "1h"}})
        body["status"] = {
            "repository": "team/web",
            "tags": ["latest"],
            "baseImages": [{"name": "registry.example:5000/team/web", "digest": ib.DIGEST}],
        }
        del body["metadata"]["resourceVersion"]
        lab.fake.put(names.IMAGEBUILDS, body)
        lab.registries(ib.registry())
        for resource in lab.frame.cache.stores:
            await lab.frame.cache.refresh(resource, lab.frame.kube)
        await lab.watch.restore()
        seen = await lab.ask(name="registry.example:5000/team/web")
        assert seen.problem is not None
        assert seen.problem[0] == "BaseImageCycle"
        assert "team/web → team/web" in seen.problem[1]
        assert lab.watch.poller._known == {}


@pytest.mark.asyncio
async def test_the_end_of_a_build_wakes_those_that_wait_for_it_and_leaves_the_others_to_the_poller(
    tmp_path, monkeypatch
):
    """Two thousand that have nothing to do yet would else all be wanted at once, whatever their priority."""
    async with laboratory(tmp_path, monkeypatch) as lab:
        lab.registries(ib.registry())
        for resource in lab.frame.cache.stores:
            await lab.frame.cache.refresh(resource, lab.frame.kube)
        for name, phase in (
            ("rests", "Succeeded"),
            ("failed", "Failed"),
            ("waits", "Pending"),
            ("between", "Retrying"),
        ):
            lab.watch.note(based(name, "registry.example:5000/team/base", phase))
        for phase in ("Succeeded", "Failed"):
            lab.watch.note(based("base", "debian", "Running"))
            assert await lab.woken() == []
            lab.watch.note(based("base", "debian", phase))
            assert await lab.woken() == ["between", "waits"]


@pytest.mark.asyncio
async def test_of_those_that_wait_for_one_build_the_less_urgent_wait_until_the_more_urgent_were_woken(
    tmp_path, monkeypatch
):
    async with laboratory(tmp_path, monkeypatch) as lab:
        base = "registry.example:5000/team/base"
        bodies = {name: based(name, base, "Pending", priority) for name, priority in (("calm", 0), ("urgent", 9))}
        for body in bodies.values():
            lab.fake.put(names.IMAGEBUILDS, body | {"metadata": body["metadata"] | {"resourceVersion": "1"}})
        lab.registries(ib.registry())
        for resource in lab.frame.cache.stores:
            await lab.frame.cache.refresh(resource, lab.frame.kube)
        await lab.watch.restore()
        made = based("base", "debian", "Running")
        lab.watch.note(made)

        async def ahead(name: str, *, waited: bool = True) -> names.Key | None:
            seen = case.Observed(bodies[name], registry=ib.registry(), namespace=ib.namespace())
            return await lab.watch.ahead(seen, questions.Ahead((base,), waited=waited))

        assert [await ahead("calm"), await ahead("urgent")] == [names.Key("team", "base")] * 2
        lab.watch.note(based("base", "debian", "Succeeded"))
        assert await ahead("calm", waited=False) is None  # it is queued, and the poller tells it of the same once more
        assert [await ahead("calm"), await ahead("urgent")] == [names.Key("team", "base")] * 2
        assert await lab.woken() == ["urgent", "calm"]
        assert [await ahead("calm"), await ahead("urgent")] == [None, None]


def based(name: str, base: str, phase: str, priority: int = 0) -> Any:
    body = ib.build(name, priority=priority, triggers={"baseImages": {"pollInterval": "1h"}})
    body["status"] = {
        "repository": f"team/{name}",
        "tags": ["latest"],
        "baseImages": [{"name": base, "digest": ib.DIGEST}],
        "current": {"number": 1, "phase": phase},
    }
    return body


# -- where to look --

LOGINS = config.DockerConfig.load([login("registry.example:5000").encode(), login("docker.io").encode()])


def place(name: str, *others: Any, target: Any = None, **options: Any) -> list[Mapping[str, Any]]:
    around = baseplaces.Surroundings(
        options=settings.Settings(namespace="s", **options),
        target=view.view(target or ib.registry()),
        managed=[view.view(body) for body in others],
        logins=LOGINS,
        authorities="CHART\n",
    )
    found = baseplaces.place(Reference.parse(name), around)
    return [
        {"host": s.host, "repository": s.repository, "plain": s.insecure, "trusted": s.trusted, "ca": s.ca,
         "login": s.credential is not None}
        for s in found.sources
    ]  # fmt: skip


def source(host: str, repository: str = "library/debian", **more: Any) -> Mapping[str, Any]:
    plain = {"plain": False, "trusted": False, "ca": "CHART\n", "login": False}
    return {"host": host, "repository": repository} | plain | more


def test_a_name_is_looked_up_where_it_says():
    assert place("quay.io/a/b") == [source("quay.io", "a/b")]
    assert place("debian") == [source("docker.io", login=True)]
    assert place("local.example/a", insecure_registries=("local.example",)) == [
        source("local.example", "a", plain=True)
    ]


def test_mirrors_come_first_those_of_the_registry_before_the_charts_and_only_the_charts_are_trusted():
    target = ib.registry(mirrors=[{"upstream": "docker.io", "endpoint": "http://10.0.0.7:5000"}])
    assert place("debian", target=target, mirrors={"docker.io": "https://hub.example/proxy"}) == [
        source("10.0.0.7:5000", plain=True),
        source("hub.example", "proxy/library/debian", trusted=True),
        source("docker.io", login=True),
    ]


def test_the_target_is_reached_as_it_says_and_a_managed_registry_of_the_same_host_comes_before_it():
    target = ib.registry()
    target["status"] |= {"insecure": True, "caBundle": "TARGET\n"}
    there = source("registry.example:5000", "team/a", login=True)
    assert place("registry.example:5000/team/a", target=target) == [there | {"plain": True, "ca": "TARGET\nCHART\n"}]
    ours = managed("registry.example:5000")
    ours["status"] |= {"insecure": False, "caBundle": "OURS\n"}
    assert place("registry.example:5000/team/a", ours, target=target) == [
        there | {"trusted": True, "ca": "OURS\nCHART\n"}
    ]
