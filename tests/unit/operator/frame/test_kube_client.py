# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The client against an API server over a real socket: retries, conflicts, pages, status, apply, events."""

import contextlib
import re
import threading
import urllib.request

import pytest

from strata_operator import conditions, kube, kubesession, metrics, names
from support.fake_kube import FakeKube

pytestmark = pytest.mark.asyncio
ALL = (names.REGISTRIES, names.CONFIGMAPS, names.SECRETS, names.EVENTS, names.NAMESPACES)


@contextlib.asynccontextmanager
async def connected(tmp_path, monkeypatch):
    fake = FakeKube(*ALL)
    with fake.serving(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        counters = metrics.Metrics()
        client = kube.Kube(await kubesession.connect(counters))
        try:
            yield fake, client, counters
        finally:
            await client.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in urllib.request.getproxies_environment():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


def config_map(name: str = "a", **data: str) -> dict:
    return {"metadata": {"name": name, "namespace": "team"}, "data": data}


async def test_an_object_that_is_not_there_is_none_and_a_taken_name_is_a_value(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (_, client, counters):
        assert await client.get(names.CONFIGMAPS, "team", "a") is None
        made = await client.create(names.CONFIGMAPS, config_map(x="1"))
        assert made["metadata"]["uid"]
        assert await client.create(names.CONFIGMAPS, config_map(x="2")) == kube.AlreadyExists("team", "a")
        assert (await client.get(names.CONFIGMAPS, "team", "a"))["data"] == {"x": "1"}
        assert b'strata_kube_requests_total{code="409",verb="create"} 1.0' in counters.render()


async def test_a_dry_run_leaves_nothing(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        await client.create(names.CONFIGMAPS, config_map(), dry_run=True)
        assert fake.get(names.CONFIGMAPS, "team", "a") is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_server_is_asked_again(tmp_path, monkeypatch, status):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.put(names.CONFIGMAPS, config_map())
        fake.fail("GET", "configmaps/a", status, times=2, headers={"Retry-After": "0"})
        assert await client.get(names.CONFIGMAPS, "team", "a") is not None
        assert len(fake.asked("GET", "configmaps/a")) == 3


async def test_a_create_whose_answer_was_lost_ends_as_already_there(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.fail("POST", "configmaps", 504, after=True, headers={"Retry-After": "0"})
        assert isinstance(await client.create(names.CONFIGMAPS, config_map(x="1")), kube.AlreadyExists)
        assert fake.get(names.CONFIGMAPS, "team", "a")["data"] == {"x": "1"}


async def test_a_server_that_stays_away_is_unreachable(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.fail("GET", "configmaps", 503, times=100, headers={"Retry-After": "0"})
        with pytest.raises(kube.Unreachable):
            await client.get(names.CONFIGMAPS, "team", "a")


@pytest.mark.parametrize("page", [b"<html>maintenance</html>", b"", b"\xff\xfe", b'{"kind": "Conf'])
async def test_a_page_of_somebody_in_front_of_the_server_is_an_answer_that_did_not_come(tmp_path, monkeypatch, page):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.put(names.CONFIGMAPS, config_map())
        fake.fail("GET", "configmaps", 200, times=2, page=page)
        assert await client.get(names.CONFIGMAPS, "team", "a") is not None
        fake.fail("GET", "configmaps", 200, times=100, page=page)
        with pytest.raises(kube.Unreachable, match="not JSON"):
            async for _ in client.pages(names.CONFIGMAPS):
                pass


async def test_a_refusal_is_not_repeated_and_keeps_the_servers_words(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.fail("GET", "secrets/user", 403, reason="Forbidden", times=9)
        with pytest.raises(kube.Forbidden, match="injected") as caught:
            await client.get(names.SECRETS, "team", "user")
        assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
        assert len(fake.asked("GET", "secrets/user")) == 1


async def test_lists_come_in_pages_and_by_selector(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        for n in range(7):
            body = config_map(f"c{n}")
            body["metadata"]["labels"] = names.common_labels("x") if n != 3 else {}
            fake.put(names.CONFIGMAPS, body)
        pages = [p async for p, _ in client.pages(names.CONFIGMAPS, selector=names.OWNED, limit=4)]
        assert [len(p) for p in pages] == [4, 2]
        assert all(item["kind"] == "ConfigMap" for page in pages for item in page)
        named = [p async for p, _ in client.pages(names.CONFIGMAPS, fields="metadata.name=c5")]
        assert [item["metadata"]["name"] for item in named[0]] == ["c5"]


async def test_a_status_is_written_whole_once_and_never_over_somebody_elses_write(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        old = fake.put(
            names.REGISTRIES, {"metadata": {"name": "r", "namespace": "team"}, "spec": {}, "status": {"gone": 1}}
        )
        status = {
            "observedGeneration": 1,
            "conditions": conditions.merge([], conditions.ready("A", "b"), generation=1, now=0),
        }
        new = await client.patch_status(names.REGISTRIES, old, status)
        assert new["status"] == status
        sent = len(fake.asked("PATCH", "/status"))
        assert await client.patch_status(names.REGISTRIES, new, status) is new
        assert len(fake.asked("PATCH", "/status")) == sent
        with pytest.raises(kube.Conflict):
            await client.patch_status(names.REGISTRIES, old, {"observedGeneration": 7})


async def test_what_a_manager_no_longer_applies_goes_and_others_fields_stay(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (_, client, _):
        await client.apply(names.SECRETS, config_map(a="1", b="2"), manager="one")
        await client.apply(names.SECRETS, config_map(c="3"), manager="two")
        left = await client.apply(names.SECRETS, config_map(a="1"), manager="one")
        assert left["data"] == {"a": "1", "c": "3"}
        with pytest.raises(kube.Conflict):
            await client.apply(names.SECRETS, config_map(c="4"), manager="one", force=False)


async def test_deleting_is_bound_to_the_object_that_was_seen(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        body = fake.put(names.CONFIGMAPS, config_map())
        assert await client.delete(names.CONFIGMAPS, "team", "a", uid="another") is False
        assert fake.get(names.CONFIGMAPS, "team", "a")
        assert await client.delete(names.CONFIGMAPS, "team", "a", uid=body["metadata"]["uid"]) is True
        assert await client.delete(names.CONFIGMAPS, "team", "a") is False


async def test_a_deletion_tells_what_is_gone_and_what_only_goes(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        gone, wrote = [], []
        client.deleted = lambda resource, key, uid: gone.append((resource.plural, key.name, uid))
        client.written = lambda _resource, body: wrote.append(body["metadata"])
        bodies = [fake.put(names.CONFIGMAPS, config_map(name)) for name in "ab"]
        uids = [body["metadata"]["uid"] for body in bodies]
        await client.delete(names.CONFIGMAPS, "team", "a", uid=uids[0])
        await client.delete(names.CONFIGMAPS, "team", "b")
        assert gone == [("configmaps", "a", uids[0]), ("configmaps", "b", uids[1])]
        await client.delete(names.CONFIGMAPS, "team", "a", uid=uids[0])  # somebody was quicker
        assert gone[2:] == [("configmaps", "a", uids[0])]
        await client.delete(names.CONFIGMAPS, "team", "c")
        other = fake.put(names.CONFIGMAPS, config_map("d"))
        await client.delete(names.CONFIGMAPS, "team", "d", uid="another")
        assert len(gone) == 3
        held = config_map("held")
        held["metadata"]["finalizers"] = ["example/hold"]
        fake.put(names.CONFIGMAPS, held)
        assert await client.delete(names.CONFIGMAPS, "team", "held") is True
        assert len(gone) == 3
        assert [(meta["name"], bool(meta["deletionTimestamp"])) for meta in wrote] == [("held", True)]
        assert fake.get(names.CONFIGMAPS, "team", "d") == other


async def test_writes_tell_what_came_back(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (_, client, _):
        told = []
        client.written = lambda resource, body: told.append((resource.plural, body["metadata"]["resourceVersion"]))
        made = await client.create(names.CONFIGMAPS, config_map())
        assert told == [("configmaps", made["metadata"]["resourceVersion"])]


async def test_the_same_event_twice_is_one_event_with_a_count(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        about = fake.put(names.REGISTRIES, {"metadata": {"name": "r", "namespace": "team"}, "spec": {}})
        for note in ("up", "up", "down"):
            await client.event(about, reason="Serving", note=note)
        events = sorted(fake.objects[names.EVENTS].values(), key=lambda e: e["note"])
        assert [(e["note"], (e.get("series") or {}).get("count")) for e in events] == [("down", None), ("up", 2)]
        assert events[0]["regarding"]["name"] == "r"


@pytest.mark.parametrize("end", [".b", "-b", "b", "-a.b-c"])
@pytest.mark.parametrize("length", [1, 197, 198, 199, 200, 201])
async def test_an_event_of_a_long_name_has_a_name_that_the_api_server_takes(tmp_path, monkeypatch, end, length):
    part = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        about = {"metadata": {"name": "a" * length + end, "namespace": "team"}}
        await client.event(about, reason="Serving", note="up")
        (event,) = fake.objects[names.EVENTS].values()
        assert re.fullmatch(rf"{part}(\.{part})*", event["metadata"]["name"])
        assert len(event["metadata"]["name"]) <= 253


async def test_a_long_note_of_an_event_is_cut_to_what_the_api_server_takes(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        about = {"metadata": {"name": "r", "namespace": "team"}}
        for note in ("é" * 1000, "a" + "é" * 1000, "a" * 1024):
            await client.event(about, reason="Serving", note=note)
        notes = [event["note"] for event in fake.objects[names.EVENTS].values()]
        assert notes == ["é" * 512, "a" + "é" * 511, "a" * 1024]  # it counts bytes


async def test_an_event_that_is_refused_disturbs_nobody(tmp_path, monkeypatch):
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.fail("POST", "events", 403)
        await client.event({"metadata": {"name": "r", "namespace": "team"}}, reason="X", note="y")


async def test_no_thread_looks_for_a_proxy_where_a_setting_only_ends_like_one(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_NODE_PROXY", "true")
    async with connected(tmp_path, monkeypatch) as (fake, client, _):
        fake.put(names.CONFIGMAPS, config_map())
        before = threading.active_count()
        assert await client.get(names.CONFIGMAPS, "team", "a") is not None
        assert threading.active_count() == before


async def test_a_proxy_that_the_environment_names_is_asked(tmp_path, monkeypatch):
    proxy = FakeKube(*ALL)
    (tmp_path / "proxy").mkdir()
    with proxy.serving(tmp_path / "proxy"):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with connected(tmp_path, monkeypatch) as (fake, client, _):
            assert await client.get(names.CONFIGMAPS, "team", "a") is None
            assert (len(proxy.requests), fake.requests) == (1, [])
