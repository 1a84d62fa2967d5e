"""Deliveries over real sockets: right ones, wrong ones, hostile ones, and those for an operator that does not act."""

import asyncio
import contextlib
import functools
import gzip
import itertools
import json
import logging
import urllib.parse

import aiohttp
import pytest

from strata_operator import kube, names
from strata_operator.webhooks import body as bodies
from strata_operator.webhooks import limits, listener, receiver
from support import hooking
from support.hooking import TOKEN, receiving, secret, signed

pytestmark = pytest.mark.asyncio
PATH = "/hooks/team/web"
PUSH = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example/app.git"}}).encode()


async def test_a_signed_push_has_the_source_looked_at_and_says_so(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        status, said, headers = await here.deliver(PATH, PUSH)
        assert (status, said["result"], said["event"]) == (202, "accepted", "push")
        assert "Revision main of its git source is looked at now" in said["message"]
        assert "kubectl -n team get imagebuild web" in said["message"]
        assert headers["Connection"] == "close"
        assert here.sources == [names.Key("team", "web")]
        assert here.counted() == {"accepted": 1}
        assert (await here.deliver(PATH, PUSH))[0] == 202  # a repeated delivery is another hint, and no harm


async def test_a_form_as_github_sends_it_is_signed_like_any_other_body(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        form = urllib.parse.urlencode({"payload": PUSH.decode()}).encode()
        headers = signed(form) | {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await here.deliver(PATH, form, headers))[0] == 202
        assert (await here.deliver(PATH, form + b"&a=b", headers))[0] == 401


async def test_a_body_of_megabytes_is_hashed_and_not_kept(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        large = b"x" * (6 << 20)
        assert (await here.deliver(PATH, large))[0] == 202


async def test_a_compressed_body_is_taken_as_it_was_sent(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        bomb = gzip.compress(b"\0" * (64 << 20))
        headers = signed(bomb) | {"Content-Encoding": "gzip"}
        assert (await here.deliver(PATH, bomb, headers))[0] == 202


@pytest.mark.parametrize(("event", "words"), [("ping", "signature is right"), ("issues", "issues is no push")])
async def test_what_is_no_push_is_told_so_and_does_nothing(tmp_path, monkeypatch, event, words):
    async with receiving(tmp_path, monkeypatch) as here:
        status, said, _ = await here.deliver(PATH, PUSH, signed(PUSH) | {"X-GitHub-Event": event})
        assert (status, words in said["message"]) == (200, True)
        assert here.sources == []


async def test_the_answer_says_when_a_push_can_change_nothing(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        here.fake.put(names.IMAGEBUILDS, hooking.build(source={"git": hooking.GIT | {"revision": "a" * 40}}))
        await hooking.refresh(here)
        assert "which no push can change" in (await here.deliver(PATH))[1]["message"]
        here.fake.put(names.IMAGEBUILDS, hooking.build(suspend=True))
        await hooking.refresh(here)
        assert "suspended" in (await here.deliver(PATH))[1]["message"]


async def test_whatever_is_wrong_is_answered_alike(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        for name, spec in (
            ("silent", {"triggers": {"git": {"pollInterval": "5m"}}}),
            ("lost", {"triggers": {"webhook": {"secretRef": {"name": "nowhere"}}}}),
            ("empty", {"triggers": {"webhook": {"secretRef": {"name": "empty"}}}}),
            ("private", {"triggers": {"webhook": {"secretRef": {"name": "private"}}}}),
        ):
            here.fake.put(names.IMAGEBUILDS, hooking.build(name, **spec))
        here.fake.put(names.SECRETS, secret("empty", token=" \n", other="x"))
        here.fake.put(names.SECRETS, secret("private", token=TOKEN))
        here.fake.fail("GET", "/secrets/private$", 403, reason="Forbidden")
        await hooking.refresh(here)
        wrong = [PATH, "/hooks/team/absent", "/hooks/absent/web", *(f"/hooks/team/{n}" for n in ("silent", "lost"))]
        answers = [await here.deliver(path, PUSH, signed(PUSH, "another")) for path in wrong]
        answers += [await here.deliver(f"/hooks/team/{n}", PUSH) for n in ("absent", "lost", "empty", "private")]
        answers += [await here.deliver(PATH, PUSH, {}), await here.deliver(PATH, PUSH + b" ", signed(PUSH))]
        answers += [await here.deliver("/hooks/team/empty", PUSH, signed(PUSH, ""))]
        answers += [await here.deliver("/hooks/team/%2e%2e%2fweb", PUSH), await here.deliver("/hooks/team/%00", PUSH)]
        told = {
            (status, json.dumps(said), tuple(h for h in headers if h != "Date")) for status, said, headers in answers
        }
        assert len(told) == 1
        assert {status for status, _, _ in answers} == {401}
        assert here.sources == []
        assert here.counted() == {"refused": len(answers)}


async def test_a_refusal_comes_at_a_moment_that_tells_nothing(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(receiver, "REFUSAL_SECONDS", 0.4)
        loop = asyncio.get_running_loop()
        for path in (PATH, "/hooks/team/absent"):
            begun = loop.time()
            assert (await here.deliver(path, PUSH, signed(PUSH, "another")))[0] == 401
            assert loop.time() - begun >= 0.4


async def test_no_secret_is_in_a_log(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    async with receiving(tmp_path, monkeypatch) as here:
        here.fake.fail("GET", "/secrets/hook$", 403, reason="Forbidden")
        here.receiver._tokens._clock = functools.partial(next, itertools.count(0, 10))
        for headers in (
            signed(PUSH),
            {"X-Gitlab-Token": TOKEN},
            {"Authorization": f"Bearer {TOKEN}"},
            {"X-Gitlab-Token": "guess"},
        ):
            await here.deliver(PATH, PUSH, headers)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "team/web" in text
    assert not [word for word in (TOKEN, "guess", signed(PUSH)["X-Hub-Signature-256"][7:]) if word in text]


async def test_a_token_that_was_changed_counts_soon(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        now = [100.0]
        here.receiver._tokens._clock = lambda: now[0]
        assert (await here.deliver(PATH))[0] == 202
        assert (await here.deliver(PATH))[0] == 202
        assert len(here.fake.asked("GET", "/secrets/hook$")) == 1
        here.fake.put(names.SECRETS, secret("hook", token="another"))
        now[0] += 3
        assert (await here.deliver(PATH))[0] == 401
        assert (await here.deliver(PATH, PUSH, signed(PUSH, "another")))[0] == 202


@pytest.mark.parametrize("what", ["gone", "empty", "forbidden"])
async def test_that_no_token_can_be_read_is_told_to_who_says_so_in_the_status(tmp_path, monkeypatch, what):
    async with receiving(tmp_path, monkeypatch) as here:
        told: list[names.Key] = []
        here.frame.hints.deaf = lambda body: told.append(kube.place(body))
        await here.deliver(PATH, PUSH, signed(PUSH, "another"))
        await here.deliver("/hooks/team/absent", PUSH)
        assert told == []
        here.receiver._tokens._clock = lambda: float("inf")
        if what == "forbidden":
            here.fake.fail("GET", "/secrets/hook$", 403, reason="Forbidden")
        elif what == "empty":
            here.fake.put(names.SECRETS, secret("hook", token=" "))
        else:
            here.fake.remove(names.SECRETS, "team", "hook")
        assert (await here.deliver(PATH, PUSH))[0] == 401
        assert told == [names.Key("team", "web")]


@pytest.mark.parametrize("what", ["gone", "empty", "forbidden", "down"])
async def test_strangers_do_not_have_the_api_server_asked_for_each_delivery(tmp_path, monkeypatch, caplog, what):
    async with receiving(tmp_path, monkeypatch) as here:
        now = [100.0]
        here.receiver._tokens._clock = lambda: now[0]
        answers = {"forbidden": (403, "Forbidden"), "down": (500, "InternalError")}
        if what in answers:
            here.fake.fail("GET", "/secrets/hook$", answers[what][0], times=100, reason=answers[what][1])
        elif what == "empty":
            here.fake.put(names.SECRETS, {"metadata": {"name": "hook", "namespace": "team"}})
        else:
            here.fake.remove(names.SECRETS, "team", "hook")
        await asyncio.gather(*(here.deliver(PATH) for _ in range(20)))
        for _ in range(5):
            assert (await here.deliver(PATH))[0] == 401
        asked = len(here.fake.asked("GET", "/secrets/hook$"))
        warned = len(caplog.messages)
        assert asked <= 5
        assert warned <= 1
        now[0] += 3
        assert (await here.deliver(PATH))[0] == 401
        assert len(here.fake.asked("GET", "/secrets/hook$")) > asked


async def test_too_much_is_refused_before_and_while_it_comes(tmp_path, monkeypatch):
    async def endless():
        while True:
            yield b"x" * 65536

    async with receiving(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(receiver.body.pieces, "__kwdefaults__", {"limit": 1 << 20, "seconds": 30.0})
        status, said, _ = await here.deliver(PATH, b"x" * ((1 << 20) + 1))
        assert (status, said["result"]) == (413, "large")
        with contextlib.suppress(aiohttp.ClientError):  # the answer may come while it still writes
            assert (await here.deliver(PATH, endless(), {}))[0] == 413
        assert here.counted() == {"large": 2}


async def test_a_body_that_does_not_come_is_given_up(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(receiver.body.pieces, "__kwdefaults__", {"limit": 1 << 20, "seconds": 0.2})
        host, _, port = here.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc".encode())
        assert b" 408 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("start", [b"", b"POST /hooks/team/web HTTP/1.1\r\nHost: a\r\nX-", b"\r\n" * 5])
async def test_a_head_that_does_not_come_ends_the_connection(tmp_path, monkeypatch, start):
    async with receiving(tmp_path, monkeypatch) as here:
        with monkeypatch.context() as soon:
            soon.setattr(listener, "HEAD_SECONDS", 0.2)
            host, _, port = here.listener.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(start)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() in (b"", b"HTTP/1.1 400")
            writer.close()
        assert (await here.deliver(PATH))[0] == 202


async def test_more_connections_than_there_may_be_are_closed_and_room_comes_back(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        host, _, port = here.listener.address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(32)]
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        for _, one in [*idle, (reader, writer)]:
            one.close()
        while True:
            try:
                assert (await here.deliver(PATH))[0] == 202
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /hooks/team/web HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /hooks/team HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /hooks/team/web/more HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /hooks/team/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /hooks/team/web HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 5000 + b"\r\n\r\n",
        b"POST /hooks/team/web HTTP/1.1\r\nHost: a\r\n" + b"A: a\r\n" * 200 + b"\r\n",
        b"POST /hooks/team/web HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /hooks/team/web HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST /hooks/team/web HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /hooks/%ff/%fe HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_strange_request_is_an_error_of_the_client_and_ends(tmp_path, monkeypatch, request_):
    async with receiving(tmp_path, monkeypatch) as here:
        host, _, port = here.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_)
        answer = await reader.read()
        writer.close()
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        assert here.sources == []
        assert (await here.deliver(PATH))[0] == 202


async def test_who_delivers_too_often_is_told_to_wait(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch, webhook_trusted_proxies=("127.0.0.0/8",)) as here:
        here.receiver._by_peer = limits.Buckets(rate=0.001, burst=2.0)
        mine = signed(PUSH) | {"X-Forwarded-For": "192.0.2.1"}
        wrong = signed(PUSH, "another") | {"X-Forwarded-For": "192.0.2.1"}
        assert [(await here.deliver(PATH, PUSH, h))[0] for h in (wrong, mine, mine)] == [401, 202, 429]
        status, said, headers = await here.deliver(PATH, PUSH, mine)
        assert (status, said["result"], int(headers["Retry-After"]) > 1) == (429, "limited", True)
        assert (await here.deliver(PATH, PUSH, signed(PUSH) | {"X-Forwarded-For": "192.0.2.2"}))[0] == 202


async def test_the_limit_of_a_path_is_used_up_by_its_owner_alone(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        here.receiver._by_path = limits.Buckets(rate=0.001, burst=2.0)
        for _ in range(5):
            assert (await here.deliver(PATH, PUSH, signed(PUSH, "another")))[0] == 401
        assert [(await here.deliver(PATH))[0] for _ in range(3)] == [202, 202, 429]


async def test_a_push_that_is_told_too_often_is_looked_at_once_all_the_same(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        here.receiver._by_path = limits.Buckets(rate=2.0, burst=1.0)
        assert [(await here.deliver(PATH))[0] for _ in range(4)] == [202, 429, 429, 429]
        assert len(here.sources) == 1
        for _ in range(1000):
            if here.receiver._later:
                await asyncio.sleep(0.01)
        assert here.receiver._later == set()
        assert len(here.sources) == 2


ENVELOPE = json.dumps(
    {"events": [{"action": "push", "target": {"repository": "team/base", "tag": "3", "digest": "sha256:00"}}]}
).encode()


async def test_a_registry_tells_of_a_tag_under_each_of_its_names(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        login = {"Authorization": f"Bearer {hooking.REGISTRY_TOKEN}"}
        status, said, _ = await here.deliver("/registries/team/main", ENVELOPE, login)
        assert (status, said["message"]) == (200, "2 ImageBuilds look at a base")
        assert here.bases == [("registry.example:5000", "team/base", "3"), ("localhost:5000", "team/base", "3")]
        assert (await here.deliver("/registries/team/main", b"{}", login))[0] == 400
        for path, headers in (
            ("/registries/team/main", {"Authorization": f"Bearer {TOKEN}"}),
            ("/registries/team/other", login),
            ("/registries/other/main", login),
            ("/registries/team/main", {}),
        ):
            assert (await here.deliver(path, ENVELOPE, headers))[0] == 401
        assert len(here.bases) == 2
        status, said, _ = await here.deliver("/registries/team/main", b"x" * (2 << 20), login)
        assert (status, "1 MiB" in said["message"]) == (413, True)


async def open_request(here, token: str, size: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The head of a registry's delivery, whose body never comes to its end."""
    host, _, port = here.listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = ["POST /registries/team/main HTTP/1.1", "Host: x", f"Authorization: Bearer {token}"]
    writer.write("\r\n".join([*lines, f"Content-Length: {size}", "", ""]).encode())
    await writer.drain()
    return reader, writer


async def test_nothing_is_kept_of_what_a_stranger_sends_in_a_registrys_name(tmp_path, monkeypatch):
    """He is refused by the head of his request: before the body has come, and whatever there is of it."""
    async with receiving(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(receiver, "REFUSAL_SECONDS", 0.2)
        kept: list[int] = []
        monkeypatch.setattr(here.receiver._envelopes, "whole", lambda request: kept.append(1))
        opened = [await open_request(here, token, 1 << 20) for token in ("guess", "", TOKEN) for _ in range(9)]
        for reader, writer in opened:
            writer.write(b"x" * 100_000)
            async with asyncio.timeout(10):
                assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
            writer.close()
        assert kept == []
        assert here.counted("registry") == {"refused": len(opened)}


async def test_registries_together_hold_no_more_than_there_is_room_for(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        here.receiver._envelopes = bodies.Room(most=1 << 20, limit=400_000)
        login = {"Authorization": f"Bearer {hooking.REGISTRY_TOKEN}"}
        opened = [await open_request(here, hooking.REGISTRY_TOKEN, 400_000) for _ in range(2)]
        while here.receiver._envelopes._left > 300_000:  # noqa: ASYNC110  until both are being read
            await asyncio.sleep(0.01)
        third, writer = await open_request(here, hooking.REGISTRY_TOKEN, 300_000)
        async with asyncio.timeout(10):
            assert b" 503 " in await third.readline()
        writer.close()
        assert (await here.deliver("/registries/team/main", ENVELOPE, login))[0] == 200  # a small one finds its place
        for _, slow in opened:
            slow.close()
        while here.receiver._envelopes._left < 1 << 20:  # noqa: ASYNC110  who has gone has left his room
            await asyncio.sleep(0.01)
        assert here.counted("registry")["unavailable"] == 1


async def test_a_body_of_unknown_length_counts_as_the_largest(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as here:
        login = {"Authorization": f"Bearer {hooking.REGISTRY_TOKEN}"}

        async def pieces():
            yield ENVELOPE

        for most, status in ((900, 503), (1000, 200)):
            here.receiver._envelopes = bodies.Room(most=most, limit=1000)
            assert (await here.deliver("/registries/team/main", pieces(), login))[0] == status


async def test_a_delivery_to_an_operator_that_stands_by_is_taken_by_the_one_that_acts(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as acting:
        address, _, port = acting.listener.address.rpartition(":")
        pod = {"metadata": {"name": "strata-1", "namespace": "strata-system"}, "status": {"podIP": address}}
        acting.fake.put(names.PODS, pod)
        async with receiving(tmp_path, monkeypatch, fake=acting.fake) as standing:
            standing.acts, standing.holder, standing.port = False, "strata-1", int(port)
            status, said, headers = await standing.deliver(PATH, PUSH)
            assert (status, said["result"]) == (202, "accepted")
            assert headers["Content-Type"].startswith("application/json")
            assert acting.sources == [names.Key("team", "web")]
            assert standing.sources == []
            assert (await standing.deliver(PATH, PUSH, signed(PUSH, "another")))[0] == 401
            assert (await standing.deliver(PATH, b"x" * (3 << 20)))[0] == 202
            monkeypatch.setattr(bodies.pieces, "__kwdefaults__", {"limit": 1 << 20, "seconds": 30.0})
            assert (await standing.deliver(PATH, b"x" * (3 << 20)))[0] == 413
            acting.acts = False  # each takes the other for the one that acts: no delivery goes round
            acting.holder, acting.port = "strata-1", int(port)
            assert (await standing.deliver(PATH, PUSH))[0] == 503


@pytest.mark.parametrize(("component", "taken"), [("operator", 30), ("ingress", 10)])
async def test_what_another_operator_passes_on_counts_for_who_has_delivered_it(tmp_path, monkeypatch, component, taken):
    """Nobody else can have a delivery counted for no one by saying that it was passed on."""
    async with receiving(tmp_path, monkeypatch) as acting:
        address, _, port = acting.listener.address.rpartition(":")
        labels = {"app.kubernetes.io/part-of": "strata", "app.kubernetes.io/component": component}
        meta = {"name": "strata-1", "namespace": "strata-system", "labels": labels}
        where = {"podIP": address, "podIPs": [{"ip": address}]}
        acting.fake.put(names.PODS, {"metadata": meta, "status": where})
        acting.receiver._by_peer = limits.Buckets(rate=0.01, burst=10.0)
        trusted = {"webhook_trusted_proxies": ("127.0.0.0/8",)}
        async with receiving(tmp_path, monkeypatch, fake=acting.fake, **trusted) as standing:
            standing.acts, standing.holder, standing.port = False, "strata-1", int(port)
            came = [signed(PUSH) | {"X-Forwarded-For": f"203.0.113.{number}"} for number in range(30)]
            answers = [(await standing.deliver(PATH, PUSH, headers))[0] for headers in came]
            assert answers.count(202) == taken
            assert len(acting.fake.asked("GET", "/pods[?]")) <= 1


@pytest.mark.parametrize("how", ["down", "forbidden"])
async def test_where_the_other_operators_cannot_be_asked_for_a_delivery_is_taken_all_the_same(
    tmp_path, monkeypatch, how
):
    async with receiving(tmp_path, monkeypatch) as here:
        here.fake.fail("GET", "/pods", 403 if how == "forbidden" else 500, times=100, reason="Forbidden")
        assert (await here.deliver(PATH, PUSH, signed(PUSH) | {"X-Strata-Forwarded": "1"}))[0] == 202


@pytest.mark.parametrize("holder", ["", "strata-gone", "strata-dead", "strata-unborn"])
async def test_where_nobody_acts_the_answer_says_so(tmp_path, monkeypatch, holder):
    async with receiving(tmp_path, monkeypatch) as here:
        dead = {"metadata": {"name": "strata-dead", "namespace": "strata-system"}, "status": {"podIP": "127.0.0.1"}}
        here.fake.put(names.PODS, dead)
        unborn = {"metadata": {"name": "strata-unborn", "namespace": "strata-system"}, "status": {}}
        here.fake.put(names.PODS, unborn)
        here.acts, here.holder, here.port = False, holder, 1
        status, said, headers = await here.deliver(PATH, PUSH)
        assert (status, headers["Retry-After"]) == (503, "15")
        assert "No operator acts" in said["message"]


BROKEN = {
    "a control character beside the token": f"X-Gitlab-Token: {TOKEN}\x01\r\n\r\n",
    "a line that is too long": f"X-Gitlab-Token: {TOKEN}{'a' * 5000}\r\n\r\n",
    "a chunk that is none": f"X-Gitlab-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{TOKEN}\r\n",
    "a length that is none": f"Content-Length: {TOKEN}\r\n\r\n",
    "a header without a name": f": {TOKEN}\r\n\r\n",
    "a body that does not come": "Content-Length: 100\r\n\r\nabc",
}


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("rest", BROKEN.values(), ids=list(BROKEN))
async def test_a_broken_request_is_no_error_of_ours_and_none_of_it_is_in_the_log(
    tmp_path, monkeypatch, caplog, rest, acts
):
    """Anybody can send thousands of them, and a sender that breaks one may have put his token into it."""
    caplog.set_level(logging.INFO)
    async with (
        receiving(tmp_path, monkeypatch) as acting,
        receiving(tmp_path, monkeypatch, fake=acting.fake) as standing,
    ):
        address, _, port = acting.listener.address.rpartition(":")
        pod = {"metadata": {"name": "strata-1", "namespace": "strata-system"}, "status": {"podIP": address}}
        acting.fake.put(names.PODS, pod)
        standing.acts, standing.holder, standing.port = False, "strata-1", int(port)
        here = acting if acts else standing
        host, _, port = here.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{rest}".encode())
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read()
        writer.transport.abort()
        assert (await here.deliver(PATH))[0] == 202
    assert [(r.name, r.getMessage()) for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info] == []
    assert TOKEN not in caplog.text


async def test_an_error_of_ours_is_in_the_log(tmp_path, monkeypatch, caplog):
    async with receiving(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(here.receiver._peers, "of", lambda _request: 1 // 0)
        host, _, port = here.listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        assert b" 500 " in await reader.readline()
        writer.close()
    assert "ZeroDivisionError" in caplog.text


async def test_a_body_that_trickles_does_not_keep_the_operator_from_ending(tmp_path, monkeypatch):
    """Whoever has lost the Lease is to be gone before another one acts; and a pod has thirty seconds for all of its end."""
    async with receiving(tmp_path, monkeypatch) as here:
        host, _, port = here.listener.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            await here.listener.close()
        writer.close()
