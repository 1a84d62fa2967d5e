"""The proxy that makes an API server's faults: each of them as a client sees it, and nothing else changed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from strata_operator import kube, kubesession, metrics, names
from support import api_proxy, kubectl
from support.fake_kube import FakeKube

pytestmark = pytest.mark.asyncio
MAPS = "/api/v1/namespaces/team/configmaps"
ALL = "/api/v1/configmaps"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKube]:
    made = FakeKube(names.CONFIGMAPS, names.IMAGEBUILDS)
    with made.serving(tmp_path):
        yield made


@pytest.fixture
def proxy(fake: FakeKube) -> Iterator[api_proxy.Proxy]:
    with api_proxy.Proxy(fake.url, seed=1, interfere=lambda path: touch(fake, path)).serving() as made:
        yield made


@pytest_asyncio.fixture
async def client(proxy: api_proxy.Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[kube.Kube]:
    monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path)))
    made = kube.Kube(await kubesession.connect(metrics.Metrics()))
    yield made
    await made.close()


def touch(fake: FakeKube, path: str) -> None:
    """Somebody else's write."""
    name = path.removesuffix("/status").rpartition("/")[2]
    for resource in (names.CONFIGMAPS, names.IMAGEBUILDS):
        if body := fake.get(resource, "team", name):
            body["metadata"].setdefault("annotations", {})["touched"] = "yes"
            fake.put(resource, body)


def config_map(name: str = "a", **data: str) -> kube.Object:
    return {"metadata": {"name": name, "namespace": "team"}, "data": data}


async def seen(proxy: api_proxy.Proxy, version: str = "0") -> tuple[list[kube.Object], str]:
    """The events of a watch until its connection ends, and what of a line came at the end."""
    text = b""
    async with aiohttp.ClientSession() as session:
        query = {"watch": "true", "resourceVersion": version}
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(proxy.url + ALL, params=query) as answer:
                try:
                    async for piece in answer.content.iter_any():
                        text += piece
                except aiohttp.ClientError:  # before which it gives nothing of what came just before the end
                    text += b"".join(answer.content._buffer)
    *lines, rest = text.decode().split("\n")
    return [json.loads(line) for line in lines], rest


async def opened(proxy: api_proxy.Proxy, count: int = 1) -> None:
    await asyncio.to_thread(kubectl.until, lambda: len(proxy.watches) >= count, what="a watch")


async def test_without_rules_a_client_sees_the_server_itself(fake: FakeKube, client: kube.Kube) -> None:
    made = config_map(x="ä/%")
    made["metadata"]["labels"] = {"example.com/a": "b"}
    await client.create(names.CONFIGMAPS, made)
    found = await client.get(names.CONFIGMAPS, "team", "a")
    assert found == fake.get(names.CONFIGMAPS, "team", "a")
    assert await client.get(names.CONFIGMAPS, "team", "b") is None
    pages = client.pages(names.CONFIGMAPS, selector="example.com/a=b", limit=1)
    listed = [body async for page, _ in pages for body in page]
    assert [body["data"] for body in listed] == [{"x": "ä/%"}]
    assert fake.asked("GET", "configmaps$")[-1].query["labelSelector"] == "example.com/a=b"


async def test_a_refusal_has_the_servers_words_and_is_not_passed_on(
    fake: FakeKube, proxy: api_proxy.Proxy, client: kube.Kube
) -> None:
    fake.put(names.CONFIGMAPS, config_map())
    for status in (429, 500, 503):
        with proxy.having(api_proxy.Rule(api_proxy.Refuse(status, 0), path="configmaps/a$", times=2)):
            assert await client.get(names.CONFIGMAPS, "team", "a")
        assert proxy.injected[f"answered {status}"] == 2
    assert len(fake.asked("GET", "configmaps/a$")) == 3


async def test_what_a_dropped_answer_was_about_is_done(
    fake: FakeKube, proxy: api_proxy.Proxy, client: kube.Kube
) -> None:
    with proxy.having(api_proxy.Rule(api_proxy.Drop(), method="POST", times=1)):
        assert isinstance(await client.create(names.CONFIGMAPS, config_map(x="1")), kube.AlreadyExists)
    assert len(fake.asked("POST", "configmaps")) == 2
    assert proxy.injected == {"answer dropped": 1}


async def test_who_writes_in_between_makes_a_conflict(
    fake: FakeKube, proxy: api_proxy.Proxy, client: kube.Kube
) -> None:
    body = fake.put(names.IMAGEBUILDS, {"metadata": {"name": "a", "namespace": "team"}, "spec": {}})
    rule = api_proxy.Rule(api_proxy.Conflict(), method="PATCH", path="imagebuilds/.*/status$", times=1)
    with proxy.having(rule), pytest.raises(kube.Conflict):
        await client.patch_status(names.IMAGEBUILDS, body, {"a": 1})
    found = fake.get(names.IMAGEBUILDS, "team", "a")
    assert found
    assert found["metadata"]["annotations"] == {"touched": "yes"}
    assert "status" not in found


async def test_a_delay_is_at_least_as_long_as_it_says(
    fake: FakeKube, proxy: api_proxy.Proxy, client: kube.Kube
) -> None:
    fake.put(names.CONFIGMAPS, config_map())
    began = time.monotonic()
    with proxy.having(api_proxy.Rule(api_proxy.Delay(0.2, 0.3))):
        await client.get(names.CONFIGMAPS, "team", "a")
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("middle", [False, True])
async def test_a_watch_that_is_cut_has_told_what_happened_before(
    fake: FakeKube, proxy: api_proxy.Proxy, middle: bool
) -> None:
    watch = asyncio.create_task(seen(proxy))
    await opened(proxy)
    fake.put(names.CONFIGMAPS, config_map())
    await asyncio.sleep(0.2)
    assert await asyncio.to_thread(proxy.cut, middle=middle) == 1
    events, rest = await watch
    assert [event["object"]["metadata"]["name"] for event in events] == ["a"]
    assert bool(rest) is middle
    async with asyncio.timeout(10):
        while proxy.watches:  # noqa: ASYNC110 -- it notices after its client has
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("in_stream", [True, False])
async def test_after_a_gap_every_watch_that_was_open_is_told_once_to_list_anew(
    fake: FakeKube, proxy: api_proxy.Proxy, in_stream: bool
) -> None:
    watch = asyncio.create_task(seen(proxy))
    await opened(proxy)
    with proxy.gap(in_stream=in_stream):
        await watch
        assert (await seen(proxy)) == ([], "")
        fake.put(names.CONFIGMAPS, config_map())
    async with aiohttp.ClientSession() as session, session.get(proxy.url + ALL, params={"watch": "true"}) as answer:
        first = json.loads(await answer.content.readline())
    told = first["object"] if in_stream else first
    assert (answer.status, told["code"], told["reason"]) == (200 if in_stream else 410, 410, "Expired")
    again = asyncio.create_task(seen(proxy))
    await opened(proxy)
    await asyncio.to_thread(proxy.cut)
    assert [event["object"]["metadata"]["name"] for event in (await again)[0]] == ["a"]


async def test_a_server_that_is_away_is_a_connection_that_ends(tmp_path: Path) -> None:
    with api_proxy.Proxy("http://127.0.0.1:9").serving() as proxy:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(proxy.url + MAPS)


async def test_chance_is_the_seeds(fake: FakeKube, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with api_proxy.Proxy(fake.url, seed=7).serving() as proxy:
            proxy.rules = [api_proxy.Rule(api_proxy.Refuse(503), chance=0.5)]
            async with aiohttp.ClientSession() as session:
                found.append([(await session.get(proxy.url + MAPS)).status for _ in range(20)])
    assert found[0] == found[1]
    assert set(found[0]) == {200, 503}
