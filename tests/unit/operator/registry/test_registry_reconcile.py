# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""Registries reconciled by the whole operator against an API server over a socket; the registry itself is played by a
probe whose answers the tests choose."""

import asyncio
import base64
import contextlib
import json
import socket

import pytest

from strata_operator import conditions, main, names, settings
from strata_operator import registry as registry_kind
from strata_operator.registry import material, probe
from support import registries
from support.certificates import Authority
from support.fake_kube import FakeKube

pytestmark = pytest.mark.asyncio
CRDS = names.Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
RESOURCES = (
    names.REGISTRIES,
    names.DEPLOYMENTS,
    names.PODS,
    names.SERVICES,
    names.CONFIGMAPS,
    names.SECRETS,
    names.NAMESPACES,
    names.VOLUME_CLAIMS,
    names.NETWORK_POLICIES,
    names.EVENTS,
    names.LEASES,
    CRDS,
)
SHARED = {"namespaces": "Selector", "selector": {"matchLabels": {"team": "x"}}, "sharedCredentials": True}


class Cluster:
    """What the tests see and do."""

    def __init__(self, fake: FakeKube) -> None:
        self.fake = fake
        self.answer = probe.Outcome()
        self.asked: list[probe.Target] = []
        for name, labels in (("team", {}), ("other", {"team": "x"}), ("far", {}), ("strata-node-proxy", {})):
            fake.put(names.NAMESPACES, {"metadata": {"name": name, "labels": labels}})

    async def probe(self, target: probe.Target) -> probe.Outcome:
        self.asked.append(target)
        return self.answer

    def bring_up(self, name: str = "strata-main", namespace: str = "team") -> None:
        """What the Deployment's controller and the kubelet would do."""
        body = self.fake.get(names.DEPLOYMENTS, namespace, name)
        status = {"observedGeneration": body["metadata"]["generation"], "updatedReplicas": 1, "availableReplicas": 1}
        self.fake.put(names.DEPLOYMENTS, {**body, "status": status})

    def ready(self, name: str = "main") -> tuple[str, str]:
        body = self.fake.get(names.REGISTRIES, "team", name) or {}
        found = conditions.find((body.get("status") or {}).get("conditions"), "Ready") or {}
        return found.get("status", ""), found.get("reason", "")

    def message(self, name: str = "main") -> str:
        body = self.fake.get(names.REGISTRIES, "team", name)
        return conditions.find(body["status"]["conditions"], "Ready")["message"]

    def auths(self, namespace: str, secret: str) -> dict[str, str]:
        """host -> "user:password" in a Secret of a namespace; empty if it is not there."""
        body = self.fake.get(names.SECRETS, namespace, secret)
        if body is None:
            return {}
        found = json.loads(base64.b64decode(body["data"][".dockerconfigjson"]))["auths"]
        return {host: base64.b64decode(entry["auth"]).decode() for host, entry in found.items()}

    def secret(self, name: str, namespace: str = "team") -> dict[str, str]:
        return material.decode(self.fake.get(names.SECRETS, namespace, name))


@contextlib.asynccontextmanager
async def running(cluster: Cluster, tmp_path, monkeypatch, **options):
    with cluster.fake.serving(tmp_path) as config, socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{s.getsockname()[1]}"
        s.close()
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.setattr(probe, "probe", cluster.probe)
        found = settings.Settings("strata-system", listen=listen, **({"registry_recheck_seconds": 1.0} | options))
        stop = asyncio.Event()
        async with main.assembled(found, (registry_kind.controllers,)) as frame:
            task = asyncio.create_task(main.run(frame, stop=stop))
            try:
                yield
            finally:
                stop.set()
                async with asyncio.timeout(20):
                    await task


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.02)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(FakeKube(*RESOURCES))


async def up(cluster: Cluster, name: str = "main") -> None:
    await until(lambda: cluster.fake.get(names.DEPLOYMENTS, "team", f"strata-{name}"))
    cluster.bring_up(f"strata-{name}")
    await until(lambda: cluster.ready(name) == ("True", "Serving"))


async def test_a_managed_registry_becomes_ready_only_after_its_pod_is_up_and_the_probe_is_content(
    cluster, tmp_path, monkeypatch
):
    cluster.answer = probe.Outcome("Unreachable", "no answer")
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("Unknown", "Provisioning"))
        assert cluster.asked == []
        cluster.bring_up()
        await until(lambda: cluster.ready() == ("Unknown", "Unreachable"))
        cluster.answer = probe.Outcome()
        await until(lambda: cluster.ready() == ("True", "Serving"))
        status = cluster.fake.get(names.REGISTRIES, "team", "main")["status"]
        events = cluster.fake.objects[names.EVENTS]
        await until(lambda: sorted(e["reason"] for e in events.values()) == ["Provisioning", "Serving", "Unreachable"])
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
    assert status["observedGeneration"] == 1
    assert status["endpoints"] == {"push": "strata-main.team.svc.cluster.local:5000", "node": "localhost:5000"}
    asked = cluster.asked[-1]
    assert asked.credential.password == cluster.secret(names.SECRET_REGISTRY)["main.strata-operator"]
    assert asked.ca_bundle == status["caBundle"]
    shown = json.dumps(status) + json.dumps(list(cluster.fake.objects[names.EVENTS].values()))
    assert not [p for u in material.USERS if (p := cluster.secret(names.SECRET_REGISTRY)[f"main.{u}"]) in shown]


async def test_children_that_are_deleted_or_changed_come_back(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        for resource in (names.DEPLOYMENTS, names.SERVICES, names.CONFIGMAPS, names.NETWORK_POLICIES):
            uid = cluster.fake.get(resource, "team", "strata-main")["metadata"]["uid"]
            cluster.fake.remove(resource, "team", "strata-main")
            await until(
                lambda resource=resource, uid=uid: (
                    (found := cluster.fake.get(resource, "team", "strata-main")) and found["metadata"]["uid"] != uid
                )
            )
        body = cluster.fake.get(names.SERVICES, "team", "strata-main")
        cluster.fake.put(names.SERVICES, {**body, "spec": {**body["spec"], "selector": {"drifted": "yes"}}})
        await until(
            lambda: (
                cluster.fake.get(names.SERVICES, "team", "strata-main")["spec"]["selector"].get(names.LABEL_REGISTRY)
                == "main"
            )
        )
        passwords = cluster.secret(names.SECRET_REGISTRY)
        for namespace, name in (("team", names.SECRET_PULL), ("team", names.SECRET_SERVING)):
            cluster.fake.remove(names.SECRETS, namespace, name)
            await until(lambda namespace=namespace, name=name: cluster.fake.get(names.SECRETS, namespace, name))
        assert cluster.secret(names.SECRET_REGISTRY) == passwords


async def test_a_changed_spec_rolls_out(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        body = cluster.fake.get(names.REGISTRIES, "team", "main")
        spec = {"managed": {**body["spec"]["managed"], "image": "mirror/registry:3.1"}}
        cluster.fake.put(names.REGISTRIES, {**body, "spec": spec})
        await until(lambda: cluster.ready() == ("Unknown", "RollingOut"))
        pod = cluster.fake.get(names.DEPLOYMENTS, "team", "strata-main")["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "mirror/registry:3.1"
        cluster.bring_up()
        await until(lambda: cluster.ready() == ("True", "Serving"))
        assert cluster.fake.get(names.REGISTRIES, "team", "main")["status"]["observedGeneration"] == 2


async def test_two_registries_of_a_namespace_share_its_secrets_and_only_one_has_the_port(
    cluster, tmp_path, monkeypatch
):
    cluster.fake.put(names.REGISTRIES, registries.managed("one"))
    later = registries.managed("two")
    later["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    cluster.fake.put(names.REGISTRIES, later)
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster, "one")
        await until(lambda: cluster.ready("two") == ("False", "PortConflict"))
        assert "nodeAccess.port" in cluster.message("two")
        body = cluster.fake.get(names.REGISTRIES, "team", "two")
        spec = {"managed": {**body["spec"]["managed"], "nodeAccess": {"mode": "NodeProxy", "port": 5001}}}
        cluster.fake.put(names.REGISTRIES, {**body, "spec": spec})
        await up(cluster, "two")
        keys = {key.partition(".")[0] for key in cluster.secret(names.SECRET_REGISTRY)}
        assert keys == {"one", "two"}
        await until(lambda: {"localhost:5000", "localhost:5001"} <= cluster.auths("team", names.SECRET_PULL).keys())
        await until(lambda: set(table(cluster)) == {"5000", "5001"})
        kept = cluster.secret(names.SECRET_REGISTRY)
        cluster.fake.remove(names.REGISTRIES, "team", "two")
        await until(lambda: {k.partition(".")[0] for k in cluster.secret(names.SECRET_REGISTRY)} == {"one"})
        await until(lambda: "localhost:5001" not in cluster.auths("team", names.SECRET_PULL))
        await until(lambda: set(table(cluster)) == {"5000"})
        left = cluster.secret(names.SECRET_REGISTRY)
        assert left == {k: v for k, v in kept.items() if k.startswith("one.")}
        cluster.fake.remove(names.REGISTRIES, "team", "one")
        gone = (names.SECRET_REGISTRY, names.SECRET_SERVING, names.SECRET_PULL, names.SECRET_PUSH)
        await until(lambda: not any(cluster.fake.get(names.SECRETS, "team", name) for name in gone))
        assert cluster.fake.get(names.VOLUME_CLAIMS, "team", "strata-one"), "volumes are kept"


def table(cluster: Cluster) -> dict:
    body = cluster.fake.get(names.CONFIGMAPS, "strata-node-proxy", "strata-node-proxy")
    return json.loads(body["data"]["registries.json"]) if body else {}


async def test_namespaces_that_are_admitted_get_logins_and_lose_them_again(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.REGISTRIES, registries.managed(access=SHARED))
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        push_host = "strata-main.team.svc.cluster.local:5000"
        for namespace in ("team", "other"):
            await until(lambda namespace=namespace: cluster.auths(namespace, names.SECRET_PUSH))
            assert cluster.auths(namespace, names.SECRET_PULL).keys() == {push_host, "localhost:5000"}
            assert cluster.auths(namespace, names.SECRET_PUSH)[push_host].startswith("strata-push:")
            assert cluster.auths(namespace, names.SECRET_PULL)[push_host].startswith("strata-pull:")
        assert not cluster.fake.get(names.SECRETS, "far", names.SECRET_PULL)
        cluster.fake.put(names.NAMESPACES, {"metadata": {"name": "far", "labels": {"team": "x"}}})
        await until(lambda: cluster.auths("far", names.SECRET_PULL))
        cluster.fake.put(names.NAMESPACES, {"metadata": {"name": "far", "labels": {}}})
        await until(lambda: not cluster.fake.get(names.SECRETS, "far", names.SECRET_PULL))
        body = cluster.fake.get(names.REGISTRIES, "team", "main")
        cluster.fake.put(names.REGISTRIES, {**body, "spec": {"managed": body["spec"]["managed"]}})
        await until(lambda: not cluster.fake.get(names.SECRETS, "other", names.SECRET_PUSH))
        assert cluster.auths("team", names.SECRET_PUSH)


async def test_nobody_can_put_a_login_in_the_place_of_that_for_a_managed_registry(cluster, tmp_path, monkeypatch):
    host = "strata-main.team.svc.cluster.local:5000"
    external_secret(cluster, "far", username="me", password="mine")
    login = {"secretRef": {"name": "login"}}
    sly = registries.external("a", "far", host=host, credentials=login, access=SHARED)
    cluster.fake.put(names.REGISTRIES, sly)
    cluster.fake.put(names.REGISTRIES, registries.managed(access=SHARED))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.auths("far", names.SECRET_PUSH).get(host) == "me:mine")
        await up(cluster)
        await until(lambda: cluster.auths("other", names.SECRET_PUSH).get(host, "").startswith("strata-push:"))
        await asyncio.sleep(1.2)  # another look
        assert cluster.auths("other", names.SECRET_PUSH)[host].startswith("strata-push:")


async def test_a_registry_that_has_not_got_its_port_puts_no_login_in_the_place_of_its_holders(
    cluster, tmp_path, monkeypatch
):
    def of(name: str) -> str:
        return f"strata-pull:{cluster.secret(names.SECRET_REGISTRY)[f'{name}.strata-pull']}"

    cluster.fake.put(names.REGISTRIES, registries.managed(access=SHARED))
    later = registries.managed("zeal", access=SHARED)
    later["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    cluster.fake.put(names.REGISTRIES, later)
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        await until(lambda: cluster.ready("zeal") == ("False", "PortConflict"))
        for namespace in ("team", "other"):
            hosts = {f"strata-{name}.team.svc.cluster.local:5000" for name in ("main", "zeal")} | {"localhost:5000"}
            await until(
                lambda namespace=namespace, hosts=hosts: cluster.auths(namespace, names.SECRET_PULL).keys() == hosts
            )
            assert cluster.auths(namespace, names.SECRET_PULL)["localhost:5000"] == of("main")
        cluster.fake.remove(names.REGISTRIES, "team", "main")
        await up(cluster, "zeal")
        await until(lambda: cluster.auths("other", names.SECRET_PULL).get("localhost:5000") == of("zeal"))


async def test_logins_of_a_registry_that_is_gone_do_not_stay_because_of_one_that_is_not_known_yet(
    cluster, tmp_path, monkeypatch
):
    cluster.fake.put(names.REGISTRIES, registries.managed())
    cluster.fake.put(names.REGISTRIES, registries.external("there", credentials={"secretRef": {"name": "login"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        await until(lambda: cluster.auths("team", names.SECRET_PUSH))
        cluster.fake.remove(names.REGISTRIES, "team", "main")
        await until(lambda: not cluster.fake.get(names.SECRETS, "team", names.SECRET_PUSH))
        await until(lambda: not cluster.fake.get(names.SECRETS, "team", names.SECRET_PULL))


async def test_logins_that_cannot_be_read_after_a_restart_stay_as_they_are(cluster, tmp_path, monkeypatch):
    external_secret(cluster, username="me", password="secret")
    cluster.fake.put(names.REGISTRIES, registries.external(credentials={"secretRef": {"name": "login"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.auths("team", names.SECRET_PUSH))
    cluster.fake.fail("GET", "/secrets/login", 403, times=10_000, reason="Forbidden")
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "CredentialsNotReadable"))
        await asyncio.sleep(0.3)
        assert cluster.auths("team", names.SECRET_PUSH) == {"registry.example.com": "me:secret"}


async def test_what_a_registry_left_behind_while_the_operator_was_away_is_swept_up(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.REGISTRIES, registries.managed(access=SHARED))
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        await until(lambda: cluster.auths("other", names.SECRET_PUSH))
    cluster.fake.remove(names.REGISTRIES, "team", "main")
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: not cluster.fake.objects[names.SECRETS])


def versions(cluster: Cluster) -> dict:
    """Of every object, save the Lease."""
    found = {(r, k): b["metadata"]["resourceVersion"] for r, o in cluster.fake.objects.items() for k, b in o.items()}
    return {place: version for place, version in found.items() if place[0] != names.LEASES}


async def test_a_restart_changes_nothing(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.REGISTRIES, registries.managed(access=SHARED))
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        await until(lambda: cluster.auths("other", names.SECRET_PUSH) and table(cluster))
    before = versions(cluster)
    cluster.asked.clear()
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: len(cluster.asked) > 2)
    after = versions(cluster)
    assert after == before


@pytest.mark.parametrize("name", [names.SECRET_REGISTRY, names.SECRET_PULL])
async def test_secrets_of_the_same_name_that_are_not_ours_are_left_alone(cluster, tmp_path, monkeypatch, name):
    theirs = {"metadata": {"name": name, "namespace": "team"}, "type": "Opaque", "data": {"mine": "eA=="}}
    cluster.fake.put(names.SECRETS, theirs)
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        if name == names.SECRET_REGISTRY:
            await until(lambda: cluster.ready() == ("False", "NameTaken"))
        else:
            await up(cluster)
            events = cluster.fake.objects[names.EVENTS]
            await until(lambda: [e for e in events.values() if e["reason"] == "SecretNameTaken"])
        assert cluster.fake.get(names.SECRETS, "team", name)["data"] == {"mine": "eA=="}


async def test_a_service_of_somebody_else_is_not_taken_over(cluster, tmp_path, monkeypatch):
    theirs = {
        "metadata": {"name": "strata-main", "namespace": "team"},
        "spec": {"selector": {"app": "theirs"}, "ports": []},
    }
    cluster.fake.put(names.SERVICES, theirs)
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "NameTaken"))
        assert "Service strata-main" in cluster.message()
        assert cluster.fake.get(names.SERVICES, "team", "strata-main")["spec"]["selector"] == {"app": "theirs"}


@pytest.mark.parametrize(
    ("resource", "theirs"),
    [
        (names.CONFIGMAPS, {"data": {"mine": "x"}}),
        (names.SERVICES, {}),
        (
            names.VOLUME_CLAIMS,
            {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        ),
    ],
)
async def test_an_object_of_somebody_else_is_not_taken_over_where_nothing_in_it_conflicts_either(
    cluster, tmp_path, monkeypatch, resource, theirs
):
    """Its owner would be the Registry, with which it would be deleted."""
    before = cluster.fake.put(resource, {"metadata": {"name": "strata-main", "namespace": "team"}, **theirs})
    cluster.fake.put(names.REGISTRIES, registries.managed(reclaimPolicy="Delete"))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "NameTaken"))
        assert f"{resource.kind} strata-main" in cluster.message()
        assert cluster.fake.get(resource, "team", "strata-main") == before
        command = f"kubectl label {resource.plural} strata-main --namespace team strata.build/registry=main"
        assert command in cluster.message()
        meta = {**before["metadata"], "labels": {names.LABEL_REGISTRY: "main"}}
        cluster.fake.put(resource, {**before, "metadata": meta})
        await up(cluster)


@pytest.mark.parametrize(
    ("size", "kept"), [("1.5Gi", "1.5Gi"), ("2048Mi", "2048Mi"), ("512Mi", "1Gi"), ("1024Mi", "1Gi")]
)
async def test_a_volume_that_somebody_has_grown_stays_as_large_for_none_can_shrink(
    cluster, tmp_path, monkeypatch, size, kept
):
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        body = cluster.fake.get(names.VOLUME_CLAIMS, "team", "strata-main")
        spec = {**body["spec"], "resources": {"requests": {"storage": size}}}
        before = len(cluster.fake.asked("PATCH", "persistentvolumeclaims"))
        cluster.fake.put(names.VOLUME_CLAIMS, {**body, "spec": spec})
        await until(lambda: len(cluster.fake.asked("PATCH", "persistentvolumeclaims")) > before + 2)
        await until(lambda: cluster.ready() == ("True", "Serving"))
        found = cluster.fake.get(names.VOLUME_CLAIMS, "team", "strata-main")
        assert found["spec"]["resources"]["requests"]["storage"] == kept


@pytest.mark.parametrize("kind", [names.CONFIGMAPS, names.SERVICES, names.DEPLOYMENTS])
async def test_a_child_whose_labels_somebody_took_away_is_known_by_its_owner(cluster, tmp_path, monkeypatch, kind):
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)
        body = cluster.fake.get(kind, "team", "strata-main")
        bare = {key: value for key, value in body["metadata"].items() if key != "labels"}
        cluster.fake.put(kind, {**body, "metadata": bare})
        await until(lambda: cluster.fake.get(kind, "team", "strata-main")["metadata"].get("labels"))


async def test_an_object_that_the_api_server_refuses_is_named_with_its_words(cluster, tmp_path, monkeypatch):
    cluster.fake.fail("PATCH", "persistentvolumeclaims", 403, times=1000, reason="Forbidden")
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "ApplyRejected"))
        assert cluster.message() == "PersistentVolumeClaim strata-main is refused: injected"
        cluster.fake.faults.clear()
        await up(cluster)


async def test_a_secret_that_may_not_be_written_is_named(cluster, tmp_path, monkeypatch):
    cluster.fake.fail("PATCH", "secrets/strata-registry$", 403, times=1000, reason="Forbidden")
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "ApplyRejected"))
        assert cluster.message() == "Secret strata-registry is refused: injected"
        assert cluster.fake.get(names.DEPLOYMENTS, "team", "strata-main") is None


async def test_in_a_namespace_that_is_being_deleted_nothing_is_made(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.NAMESPACES, {"metadata": {"name": "team", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await asyncio.sleep(0.5)
    assert not cluster.fake.asked("PATCH", "/namespaces/team/")


async def test_a_status_that_somebody_overtook_is_written_after_another_look(cluster, tmp_path, monkeypatch):
    cluster.fake.fail("PATCH", "/registries/main/status", 409, times=3, reason="Conflict")
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch):
        await up(cluster)


def external_secret(cluster: Cluster, namespace: str = "team", /, **data: str) -> None:
    body = {"metadata": {"name": "login", "namespace": namespace}, "data": material.encode(data)}
    cluster.fake.put(names.SECRETS, body)


async def test_an_external_registry_without_leave_to_read_shows_the_command(cluster, tmp_path, monkeypatch):
    cluster.fake.fail("GET", "/secrets/login", 403, times=10_000, reason="Forbidden")
    cluster.fake.put(names.REGISTRIES, registries.external(credentials={"secretRef": {"name": "login"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready() == ("False", "CredentialsNotReadable"))
        assert (
            "kubectl create rolebinding strata-secret-reader --namespace team --clusterrole strata-secret-reader "
            "--serviceaccount strata-system:strata-operator"
        ) in cluster.message()
        cluster.fake.faults.clear()
        external_secret(cluster, username="me", password="secret")
        await until(lambda: cluster.ready() == ("True", "Serving"))
        await until(lambda: cluster.auths("team", names.SECRET_PUSH) == {"registry.example.com": "me:secret"})
        status = cluster.fake.get(names.REGISTRIES, "team", "main")["status"]
        assert status["endpoints"] == dict.fromkeys(("push", "node", "external"), "registry.example.com")
        assert status["credentials"]["users"] == ["me"]
        assert cluster.fake.get(names.DEPLOYMENTS, "team", "strata-main") is None


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (None, "CredentialsNotFound", "Secret login does not exist in namespace team"),
        ({"username": "me"}, "CredentialsNotFound", "neither username and password"),
        ({".dockerconfigjson": "{"}, "CredentialsNotFound", "Secret login"),
        (
            {".dockerconfigjson": '{"auths": {"elsewhere": {"auth": "YTpi"}}}'},
            "CredentialsNotFound",
            "registry.example",
        ),
        ({".dockerconfigjson": '{"auths": {"registry.example.com": {"auth": "bWU6c2VjcmV0"}}}'}, "Serving", ""),
    ],
)
async def test_credentials_of_an_external_registry_in_all_their_forms(
    cluster, tmp_path, monkeypatch, data, reason, words
):
    if data is not None:
        external_secret(cluster, **data)
    cluster.fake.put(names.REGISTRIES, registries.external(credentials={"secretRef": {"name": "login"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready()[1] == reason)
        assert words in cluster.message()
    if reason == "Serving":
        assert cluster.asked[-1].credential.username == "me"


@pytest.mark.parametrize(
    ("data", "reason"), [(None, "CABundleNotFound"), ({"ca.crt": "garbage"}, "CABundleNotFound"), ("good", "Serving")]
)
async def test_certificates_for_an_external_registry_come_from_a_config_map(
    cluster, tmp_path, monkeypatch, data, reason
):
    if data == "good":
        data = {"ca.crt": Authority().pem.decode()}
    if data is not None:
        cluster.fake.put(names.CONFIGMAPS, {"metadata": {"name": "ca", "namespace": "team"}, "data": data})
    cluster.fake.put(names.REGISTRIES, registries.external(caBundle={"configMapRef": {"name": "ca"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready()[1] == reason)
    if reason == "Serving":
        assert cluster.asked[-1].ca_bundle == data["ca.crt"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("kind", ["configMapRef", "secretRef"])
async def test_comments_of_a_bundle_are_left_out_whatever_their_encoding(
    cluster, tmp_path, monkeypatch, kind, encoding
):
    first, second, charts = (Authority(name).pem for name in ("first", "second", "chart"))
    text = base64.b64encode("# Zürich, Größe\n".encode(encoding) + first + b"\r\n# zwei\n" + second).decode()
    resource, field = (names.CONFIGMAPS, "binaryData") if kind == "configMapRef" else (names.SECRETS, "data")
    cluster.fake.put(resource, {"metadata": {"name": "ca", "namespace": "team"}, field: {"ca.crt": text}})
    cluster.fake.put(names.REGISTRIES, registries.external(caBundle={kind: {"name": "ca"}}))
    (tmp_path / "ca.crt").write_bytes("# für alle\n".encode() + charts)
    async with running(cluster, tmp_path, monkeypatch, ca_bundle_file=str(tmp_path / "ca.crt")):
        await until(lambda: cluster.ready()[1] == "Serving")
    status = cluster.fake.get(names.REGISTRIES, "team", "main")["status"]
    assert status["caBundle"] == (first + second).decode()
    assert cluster.asked[-1].ca_bundle == (first + second + charts).decode()


async def test_more_certificates_than_a_status_holds_are_refused_with_their_number(cluster, tmp_path, monkeypatch):
    many = "".join(Authority(f"authority {n}").pem.decode() for n in range(200))
    cluster.fake.put(names.CONFIGMAPS, {"metadata": {"name": "ca", "namespace": "team"}, "data": {"ca.crt": many}})
    cluster.fake.put(names.REGISTRIES, registries.external(caBundle={"configMapRef": {"name": "ca"}}))
    async with running(cluster, tmp_path, monkeypatch):
        await until(lambda: cluster.ready()[1] == "CABundleNotFound")
        assert "65536 are the most" in cluster.message()


async def test_without_node_proxies_nothing_promises_that_nodes_can_pull(cluster, tmp_path, monkeypatch):
    table = {"name": "strata-node-proxy", "namespace": "strata-node-proxy"}
    cluster.fake.put(names.CONFIGMAPS, {"metadata": {**table, "labels": {names.LABEL_MANAGED_BY: names.OPERATOR}}})
    cluster.fake.put(names.REGISTRIES, registries.managed())
    cluster.fake.put(names.REGISTRIES, registries.managed("second"))  # the same port: no conflict where nobody listens
    cluster.fake.put(names.REGISTRIES, registries.managed("hidden", nodeAccess={"mode": "None"}))
    async with running(cluster, tmp_path, monkeypatch, node_proxy=False):
        for name in ("main", "second", "hidden"):
            await up(cluster, name)
        await until(lambda: len(cluster.auths("team", names.SECRET_PULL)) == 3)
        await until(lambda: cluster.fake.get(names.CONFIGMAPS, "strata-node-proxy", "strata-node-proxy") is None)
    status = cluster.fake.get(names.REGISTRIES, "team", "main")["status"]
    assert status["endpoints"] == {"push": "strata-main.team.svc.cluster.local:5000"}
    found = conditions.find(status["conditions"], "NodeAccess")
    assert (found["status"], found["reason"]) == ("False", "NodeProxyDisabled")
    assert "nodeProxy.enabled" in found["message"]
    assert not [host for host in cluster.auths("team", names.SECRET_PULL) if host.startswith("localhost")]
    hidden = cluster.fake.get(names.REGISTRIES, "team", "hidden")["status"]
    assert [c["type"] for c in hidden["conditions"]] == ["Ready"]


async def test_a_config_map_of_somebody_else_under_the_tables_name_stays(cluster, tmp_path, monkeypatch):
    cluster.fake.put(names.CONFIGMAPS, {"metadata": {"name": "strata-node-proxy", "namespace": "strata-node-proxy"}})
    cluster.fake.put(names.REGISTRIES, registries.managed())
    async with running(cluster, tmp_path, monkeypatch, node_proxy=False):
        await up(cluster)
    assert cluster.fake.get(names.CONFIGMAPS, "strata-node-proxy", "strata-node-proxy") is not None


async def test_a_registry_that_is_seen_before_its_namespace_is_not_forgotten(cluster, tmp_path, monkeypatch):
    """Each kind is watched apart: nothing says which of two events comes first."""
    namespace = cluster.fake.get(names.NAMESPACES, "", "team")
    cluster.fake.remove(names.NAMESPACES, "", "team")
    async with running(cluster, tmp_path, monkeypatch):
        cluster.fake.put(names.REGISTRIES, registries.managed())
        await asyncio.sleep(0.3)
        assert cluster.fake.get(names.DEPLOYMENTS, "team", "strata-main") is None
        del namespace["metadata"]["resourceVersion"]
        cluster.fake.put(names.NAMESPACES, namespace)
        await up(cluster)
