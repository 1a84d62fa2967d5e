"""Deliveries over real sockets to sinks that are well, slow, away, busy, wrong or strangers."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from strata_operator import metrics, settings
from strata_operator.notifications import delivery, hub, notices, signing
from support import sink_server
from support.certificates import Authority

pytestmark = pytest.mark.asyncio
QUICK = delivery.Patience(request=5.0, notice=30.0, first=0.01, longest=0.02, asked=0.05)
BRIEF = delivery.Patience(request=0.1, notice=0.3, first=0.01, longest=0.02, asked=0.05)


def notice(number: int = 1, transition: str = "succeeded", namespace: str = "team") -> notices.Notice:
    return notices.Notice(transition, f"uid/{number}/1/{transition}", namespace, "web", data={"number": number})


@contextlib.asynccontextmanager
async def telling(
    monkeypatch: pytest.MonkeyPatch,
    *sinks: dict[str, Any],
    patience: delivery.Patience = QUICK,
    ca: str = "",
    **more: Any,
) -> AsyncIterator[hub.Hub]:
    monkeypatch.setattr(
        delivery.Delivery.__init__, "__kwdefaults__", delivery.Delivery.__init__.__kwdefaults__ | {"patience": patience}
    )
    options = settings.Settings(namespace="strata-system", notification_sinks=sinks, **more)
    made = hub.Hub(options, metrics.Metrics(), ca)
    await made.start()
    try:
        yield made
    finally:
        await made.close(0.0)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.01)


def counted(made: hub.Hub, name: str = "a") -> dict[str, int]:
    (family,) = made._counters.notifications.collect()
    found = [s for s in family.samples if s.name.endswith("_total") and s.labels["sink"] == name]
    return {s.labels["result"]: int(s.value) for s in found}


async def test_a_notice_arrives_in_order_once_and_unsigned_without_a_secret(monkeypatch):
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        made.tell([notice(1), notice(2), notice(3)])
        received = await server.wait(3)
        await made._deliveries[0].drained()
        assert [json.loads(r.body)["data"]["number"] for r in received] == [1, 2, 3]
        assert received[0].headers["webhook-id"] == "uid/1/1/succeeded"
        assert "webhook-signature" not in received[0].headers
        assert received[0].headers["User-Agent"].startswith("strata-operator/")
        assert counted(made) == {"delivered": 3}


async def test_a_signature_holds_over_what_arrives_and_follows_the_secret(monkeypatch, tmp_path):
    key = base64.b64encode(b"k" * 32).decode()
    (tmp_path / "key").write_text(f"whsec_{key}\n")
    (tmp_path / "authorization").write_text("Bearer of-the-sink\n")
    sink = {"name": "a", "secretFolder": str(tmp_path), "mode": "Binary"}
    async with sink_server.serving() as server, telling(monkeypatch, sink | {"url": server.url}) as made:
        server.answers = [(500, {})]
        made.tell([notice()])
        for received in await server.wait(2):
            timestamp = int(received.headers["webhook-timestamp"])
            expected = signing.sign(b"k" * 32, received.headers["webhook-id"], timestamp, received.body)
            assert received.headers["webhook-signature"] == expected
            assert received.headers["Authorization"] == "Bearer of-the-sink"
        (tmp_path / "key").write_text("another")
        made.tell([notice(2)])
        received = (await server.wait(3))[2]
        timestamp = int(received.headers["webhook-timestamp"])
        expected = signing.sign(b"another", received.headers["webhook-id"], timestamp, received.body)
        assert received.headers["webhook-signature"] == expected


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_with_the_same_id(monkeypatch, status):
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        server.answers = [(status, {}), (status, {"Retry-After": "0"}), (status, {"Retry-After": "Wed, 21 Oct"})]
        made.tell([notice()])
        received = await server.wait(4)
        await made._deliveries[0].drained()
        assert {r.headers["webhook-id"] for r in received} == {notice().id}
        assert counted(made) == {"retried": 3, "delivered": 1}


@pytest.mark.parametrize("asked", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_a_sink_is_left_alone_for_as_long_as_it_asks_within_bounds(monkeypatch, asked):
    loop = asyncio.get_running_loop()
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        server.answers = [(429, {"Retry-After": asked})]
        begun = loop.time()
        made.tell([notice()])
        await server.wait(2)
        assert loop.time() - begun >= QUICK.asked


@pytest.mark.parametrize("asked", ["0", "00", "000000000"])
async def test_a_sink_that_asks_for_no_time_at_all_is_not_asked_without_a_pause(monkeypatch, asked):
    patience = delivery.Patience(request=5.0, notice=0.5, first=0.1, longest=0.1, asked=0.05)
    sink = {"name": "a"}
    async with (
        sink_server.serving() as server,
        telling(monkeypatch, sink | {"url": server.url}, patience=patience) as made,
    ):
        server.answers = [(503, {"Retry-After": asked})] * 1000
        made.tell([notice()])
        await made._deliveries[0].drained()
        assert counted(made)["expired"] == 1
        assert len(server.received) < 50


@pytest.mark.parametrize(("status", "headers"), [(400, {}), (401, {}), (404, {}), (410, {}), (307, {"Location": "/x"})])
async def test_what_is_refused_is_given_up_and_the_next_is_told(monkeypatch, caplog, status, headers):
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        server.answers = [(status, headers)]
        made.tell([notice(1), notice(2)])
        received = await server.wait(2)
        await made._deliveries[0].drained()
        assert [json.loads(r.body)["data"]["number"] for r in received] == [1, 2]
        assert counted(made) == {"refused": 1, "delivered": 1}
        assert f"it answered {status}" in caplog.text


async def test_a_sink_that_is_away_gets_it_when_it_comes(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a-room?key=s3cret"
    async with telling(monkeypatch, {"name": "a", "url": url}) as made:
        made.tell([notice()])
        await until(lambda: counted(made).get("retried"))
        async with sink_server.serving(port=port) as server:
            await server.wait(1)
            await made._deliveries[0].drained()
        assert counted(made)["delivered"] == 1
    assert "sink a" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_sink_that_never_answers_delays_no_other_and_loses_it_in_the_end(monkeypatch, caplog):
    async with sink_server.serving() as slow, sink_server.serving() as well:
        slow.held = True
        sinks = ({"name": "slow", "url": slow.url}, {"name": "a", "url": well.url})
        async with telling(monkeypatch, *sinks, patience=BRIEF) as made:
            made.tell([notice(1), notice(2)])
            await well.wait(2)
            await until(lambda: counted(made, "slow").get("expired", 0) == 2)
            assert counted(made) == {"delivered": 2}
    assert "is expired" in caplog.text


async def test_a_queue_that_is_full_drops_the_oldest_and_says_so(monkeypatch, caplog):
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        server.held = True
        made.tell([notice(0)])
        await server.wait(1)
        made.tell(notice(number) for number in range(1, delivery.QUEUE + 3))
        assert counted(made) == {"dropped": 2}
        assert "uid/1/1/succeeded is dropped" in caplog.text
        server.held = False
        received = await server.wait(delivery.QUEUE + 1)
        assert json.loads(received[1].body)["data"]["number"] == 3


async def test_only_what_is_wanted_is_told(monkeypatch):
    async with sink_server.serving() as server:
        sink = {"name": "a", "url": server.url, "types": ["failed"], "namespaces": ["team"]}
        async with telling(monkeypatch, sink) as made:
            made.tell([notice(1), notice(2, "failed", "other"), notice(3, "failed")])
            received = await server.wait(1)
            await made._deliveries[0].drained()
            assert [json.loads(r.body)["data"]["number"] for r in received] == [3]


async def test_tls_needs_an_authority_that_is_trusted(monkeypatch, caplog):
    authority = Authority()
    async with sink_server.serving(authority.leaf()) as server:
        sink = {"name": "a", "url": server.url}
        async with telling(monkeypatch, sink, ca=authority.pem.decode()) as made:
            made.tell([notice()])
            await server.wait(1)
            await made._deliveries[0].drained()
            assert counted(made)["delivered"] == 1
        async with telling(monkeypatch, sink, patience=BRIEF, ca=Authority("other").pem.decode()) as made:
            made.tell([notice()])
            await made._deliveries[0].drained()
            assert counted(made)["expired"] == 1
        assert len(server.received) == 1
    assert "ClientConnectorCertificateError" in caplog.text


async def test_a_secret_that_is_not_there_yet_is_waited_for(monkeypatch, tmp_path):
    async with sink_server.serving() as server:
        sink = {"name": "a", "url": server.url, "secretFolder": str(tmp_path / "later")}
        async with telling(monkeypatch, sink) as made:
            made.tell([notice()])
            await until(lambda: counted(made).get("retried"))
            assert server.received == []
            (tmp_path / "later").mkdir()
            (tmp_path / "later" / "key").write_text("k")
            assert "webhook-signature" in (await server.wait(1))[0].headers


async def test_a_key_that_cannot_be_used_is_told_and_not_shown(monkeypatch, tmp_path, caplog):
    (tmp_path / "key").write_text("whsec_%%%nobase64")
    async with sink_server.serving() as server:
        sink = {"name": "a", "url": server.url, "secretFolder": str(tmp_path)}
        async with telling(monkeypatch, sink) as made:
            made.tell([notice()])
            await made._deliveries[0].drained()
            assert counted(made) == {"refused": 1}
    assert "not base64" in caplog.text
    assert "nobase64" not in caplog.text


async def test_the_end_gives_what_waits_a_moment_and_no_more(monkeypatch, caplog):
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        made.tell([notice(1), notice(2)])
        await made.close(30.0)
        assert len(server.received) == 2
    async with sink_server.serving() as server, telling(monkeypatch, {"name": "a", "url": server.url}) as made:
        server.held = True
        made.tell([notice()])
        await server.wait(1)
        await made.close(0.01)
        assert "a are left undelivered" in caplog.text


async def test_the_charts_proxy_is_used_save_for_the_hosts_that_need_none(monkeypatch):
    sinks = ({"name": "a", "url": "http://sink.example/x"}, {"name": "b", "url": "https://in.cluster.svc/x"})
    async with sink_server.serving() as proxy:
        address = proxy.url.removesuffix("/sink")
        async with telling(monkeypatch, *sinks, http_proxy=address, https_proxy=address, no_proxy=".svc") as made:
            assert [one._proxy for one in made._deliveries] == [address, None]
            made.tell([notice()])
            assert (await proxy.wait(1))[0].headers["Host"] == "sink.example"


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("http://10.96.3.4:8080/x?room=1", True),
        ("https://[fd00::5]/x", True),
        ("https://in.cluster.svc/x", True),
        ("https://bus.example:8443/x", True),
        ("https://bus.example/x", False),
        ("http://192.0.2.7/x", False),
        ("https://events.example.com/x", False),
    ],
)
async def test_noproxy_means_for_sinks_what_it_means_for_builds(monkeypatch, url, without):
    proxied = {"http_proxy": "proxy.example:3128", "https_proxy": "http://u:p@proxy.example:3128"}
    no_proxy = ".svc,10.96.0.0/12,fd00::/8,bus.example:8443"
    async with telling(monkeypatch, {"name": "a", "url": url}, **proxied, no_proxy=no_proxy) as made:
        expected = "http://proxy.example:3128" if url.startswith("http:") else proxied["https_proxy"]
        assert [one._proxy for one in made._deliveries] == [None if without else expected]


async def test_without_sinks_nothing_is_begun(monkeypatch):
    async with telling(monkeypatch) as made:
        made.tell([notice()])
        assert made._tasks == []
        assert made._client is None
