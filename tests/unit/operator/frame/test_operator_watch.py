# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The running operator, kopf and all, against an API server that forgets, falls silent and loses events."""

import asyncio
import contextlib
import copy
import gc
import os
import signal
import socket
import sys

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from strata_operator import controller, leader, main, names, settings, stopping, watches, watchlayer
from support import api_proxy
from support.fake_kube import FakeKube

pytestmark = pytest.mark.asyncio
CRDS = names.Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
RESOURCES = (names.REGISTRIES, names.JOBS, names.NAMESPACES, names.LEASES, CRDS)


class Recorder:
    """A kind that only notes what it is woken for, and whether the object was there."""

    def __init__(self, frame: controller.Frame) -> None:
        self.frame = frame
        self.seen: list[tuple[str, bool]] = []
        self.hang = False
        self.operator: asyncio.Task[None] | None = None

    async def reconcile(self, key: names.Key) -> float | None:
        self.seen.append((key.name, self.frame.cache[names.REGISTRIES].get(*key) is not None))
        if self.hang:
            await asyncio.Event().wait()
        return None

    def controllers(self) -> list[controller.Controller]:
        watches = (
            controller.Watch(names.REGISTRIES, controller.itself("thing")),
            controller.Watch(names.JOBS, controller.owner("thing", names.REGISTRIES), selector=names.OWNED),
        )
        return [controller.Controller("thing", self.reconcile, watches)]


def registry(name: str, **more) -> dict:
    return {"metadata": {"name": name, "namespace": "team"}, "spec": {"managed": {}}, **more}


def job(name: str, owner: dict, **labels: str) -> dict:
    reference = {"apiVersion": names.API_VERSION, "kind": "Registry"} | {
        k: owner["metadata"][k] for k in ("name", "uid")
    }
    return {
        "metadata": {"name": name, "namespace": "team", "labels": labels, "ownerReferences": [reference]},
        "spec": {},
    }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.asynccontextmanager
async def running(fake: FakeKube, tmp_path, monkeypatch, **options):
    with fake.serving(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        async with operator(**options) as found:
            yield found


@contextlib.asynccontextmanager
async def operator(**options):
    listen = f"127.0.0.1:{free_port()}"
    found = settings.Settings(namespace="strata-system", listen=listen, **options)
    recorders: list[Recorder] = []

    def kind(frame):
        recorders.append(Recorder(frame))
        return recorders[0].controllers()

    stop = asyncio.Event()
    async with main.assembled(found, (kind,)) as frame:
        task = recorders[0].operator = asyncio.create_task(main.run(frame, stop=stop))
        try:
            yield recorders[0], f"http://{listen}"
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await task


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.02)


async def ask(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def until_gone(recorder: Recorder) -> None:
    """Asks the task, not the port: asyncio 3.11 leaves what it accepts while a server closes to the garbage collector."""
    await asyncio.wait({recorder.operator}, timeout=30)
    assert recorder.operator.done()


async def until_status(url: str, status: int) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):  # not listening yet
                if (await ask(url))[0] == status:
                    return
            await asyncio.sleep(0.05)


async def test_objects_that_are_there_come_and_change_and_go_are_reconciled(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    before = fake.put(names.REGISTRIES, registry("before"))
    async with running(fake, tmp_path, monkeypatch) as (recorder, url):
        await until(lambda: ("before", True) in recorder.seen)
        fake.put(names.REGISTRIES, registry("later"))
        await until(lambda: ("later", True) in recorder.seen)
        recorder.seen.clear()
        fake.put(names.JOBS, job("ours", before, **names.common_labels("x")))
        await until(lambda: ("before", True) in recorder.seen)
        fake.remove(names.REGISTRIES, "team", "later")
        await until(lambda: ("later", False) in recorder.seen)
        assert await ask(f"{url}/readyz") == (200, "ok\n")
        assert await ask(f"{url}/healthz") == (200, "ok\n")
        assert 'strata_reconcile_total{kind="thing",result="success"}' in (await ask(f"{url}/metrics"))[1]
    assert all(r.query.get("labelSelector") == names.OWNED for r in fake.asked("GET", "/jobs$"))


async def test_a_deletion_that_no_watch_told_of_is_found_by_the_next_list(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("kept"))
    fake.put(names.REGISTRIES, registry("lost"))
    async with running(fake, tmp_path, monkeypatch, resync_seconds=1.5) as (recorder, _):
        await until(lambda: {("kept", True), ("lost", True)} <= set(recorder.seen))
        fake.vanish(names.REGISTRIES, "team", "lost")
        await until(lambda: ("lost", False) in recorder.seen)
        recorder.seen.clear()
        await until(lambda: ("kept", True) in recorder.seen)  # the resync looks at all


async def test_watches_go_on_after_their_history_was_forgotten(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("a"))
    async with running(fake, tmp_path, monkeypatch) as (recorder, _):
        await until(lambda: ("a", True) in recorder.seen)
        await until(lambda: [r for r in fake.asked("GET", "/registries$") if r.query.get("watch")])
        fake.compact()
        fake.put(names.REGISTRIES, registry("b"))
        await until(lambda: ("b", True) in recorder.seen)


@contextlib.asynccontextmanager
async def behind_a_proxy(fake: FakeKube, tmp_path, monkeypatch, **options):
    with fake.serving(tmp_path), api_proxy.Proxy(fake.url, seed=1).serving() as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path)))
        async with operator(**options) as (recorder, _):
            await until(lambda: {"/registries", "/jobs"} <= {w[w.rindex("/") :] for w in proxy.watches}, 20)
            yield recorder, proxy


FAULTS = {
    "cut": (),
    "cut in a line": (),
    "token rotated": (api_proxy.Rule(api_proxy.Refuse(401), times=4),),
    "refused until a date": (api_proxy.Rule(api_proxy.Refuse(429, "Wed, 21 Oct 2026 07:28:00 GMT"), times=4),),
    "refused for a day": (api_proxy.Rule(api_proxy.Refuse(429, 86_400), times=4),),
    "refused for a while": (api_proxy.Rule(api_proxy.Refuse(429, 1), times=4),),
    "broken for a while": (api_proxy.Rule(api_proxy.Refuse(500), times=4),),
    "answers lost": (api_proxy.Rule(api_proxy.Drop(), times=4),),
    "late": (api_proxy.Rule(api_proxy.Delay(0.2, 0.5)),),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_happens_to_watches_delays_and_loses_nothing(tmp_path, monkeypatch, fault):
    fake = FakeKube(*RESOURCES)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        proxy.rules = list(FAULTS[fault])
        assert await asyncio.to_thread(proxy.cut, middle=fault == "cut in a line") >= 2
        fake.put(names.REGISTRIES, registry("later"))
        await until(lambda: ("later", True) in recorder.seen, 30)


@pytest.mark.parametrize("in_stream", [True, False], ids=["told in the stream", "told instead of one"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_watch_that_is_told_that_it_is_too_old_lists_anew(tmp_path, monkeypatch, in_stream, times):
    fake = FakeKube(*RESOURCES)
    for name in ("lost", "kept"):
        fake.put(names.REGISTRIES, registry(name))
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        await until(lambda: ("lost", True) in recorder.seen)
        lists = len(fake.asked("GET", "/registries$"))
        proxy.rules = [api_proxy.Rule(api_proxy.Gone(in_stream), path="/registries$", times=times)]
        gap = proxy.gap(in_stream=in_stream)
        await asyncio.to_thread(gap.__enter__)
        fake.remove(names.REGISTRIES, "team", "lost")
        fake.put(names.REGISTRIES, registry("later"))
        await asyncio.to_thread(gap.__exit__, None, None, None)
        await until(lambda: ("later", True) in recorder.seen and ("lost", False) in recorder.seen, 30)
        assert proxy.injected["watch answered 410"] >= times
        assert len(fake.asked("GET", "/registries$")) < lists + 20 * (times + 1)  # it does not ask without a pause


@pytest.mark.parametrize("path", ["/registries", "/jobs", "/customresourcedefinitions"])
async def test_a_token_that_is_refused_to_one_watch_ends_none_of_the_others(tmp_path, monkeypatch, path):
    """Who logs in anew closes the connections of all: those that are in the middle of a watch notice."""
    fake = FakeKube(*RESOURCES)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        await until(lambda: len(proxy.watches) == 3, 20)
        with proxy.having(api_proxy.Rule(api_proxy.Refuse(401), path=f"{path}$", times=1)):
            assert await asyncio.to_thread(proxy.cut, path=path) == 1
            await until(lambda: proxy.injected["answered 401"] == 1)
        owner = fake.put(names.REGISTRIES, registry("later"))
        await until(lambda: ("later", True) in recorder.seen, 30)
        await until(lambda: len(proxy.watches) == 3, 20)
        recorder.seen.clear()
        fake.put(names.JOBS, job("ours", owner, **names.common_labels("x")))
        await until(lambda: ("later", True) in recorder.seen, 30)


async def test_a_watch_whose_connection_is_closed_while_an_event_of_it_is_worked_on_ends_as_any_that_breaks():
    """aiohttp tells who waits for data of the end, and has a RuntimeError, which would end the process, for who comes later."""
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), limit=1 << 16, loop=loop)
    line = b'{"type":"BOOKMARK","object":{}}\n'
    content.feed_data(line)
    events = watches._Events(content, lambda *_: asyncio.sleep(0)).iter_chunked(1 << 16)
    assert await anext(events) == line
    with pytest.raises(aiohttp.ClientConnectionError, match="Connection closed"):
        await anext(events)


async def test_an_api_server_that_does_not_know_the_token_is_asked_ever_more_rarely(tmp_path, monkeypatch):
    """As while its ServiceAccount is made anew, or where an API server that has just started knows of none yet."""
    monkeypatch.setattr(watches, "_LONGEST", 4.0)
    fake = FakeKube(*RESOURCES)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        await until(lambda: len(proxy.watches) == 3, 20)
        with proxy.having(api_proxy.Rule(api_proxy.Refuse(401), "GET", "/registries$")):
            await asyncio.to_thread(proxy.cut, path="/registries")
            await asyncio.sleep(3)
            assert 2 <= proxy.injected["answered 401"] < 10
        fake.put(names.REGISTRIES, registry("later"))
        await until(lambda: ("later", True) in recorder.seen, 30)


TOLD = {
    "an error of the server": api_proxy.error(500, message="etcdserver: no leader"),
    "a time-out": api_proxy.error(504, reason="Timeout"),
    "too many requests": api_proxy.error(429),
    "an error without a code": api_proxy.Tell('{"type":"ERROR","object":{"kind":"Status"}}\n'),
    "an error that says nothing": api_proxy.Tell('{"type":"ERROR","object":null}\n'),
    "a Status that is no event": api_proxy.Tell(
        '{"kind":"Status","status":"Failure","code":503,"message":"draining"}\n'
    ),
    "no JSON": api_proxy.Tell("upstream connect error\n"),
    "JSON that is no object": api_proxy.Tell("[]\n"),
    "an event without an object": api_proxy.Tell('{"type":"MODIFIED"}\n'),
    "half an event, and a clean end": api_proxy.Tell('{"type":"ADDED","object":{"metadata":{"name":"ha'),
    "an event in the middle of another": api_proxy.Tell(
        '{"type":"BOOKMARK","object":{"kind":"{"type":"MODIFIED","object":{"metadata":{"name":"half"}}}\n'
    ),
    "nothing": api_proxy.Tell(""),
    "a page for people": api_proxy.Tell("<html>maintenance</html>", kind="text/html"),
}


async def cut_until_met(proxy: api_proxy.Proxy, rule: api_proxy.Rule) -> None:
    """Cut all watches until one that is opened again meets the rule: a watch that is just being opened is not cut."""
    times = rule.times
    while rule.times == times:
        await asyncio.to_thread(proxy.cut)
        await asyncio.sleep(0.2)


async def test_an_error_in_a_watch_ends_nothing_and_has_it_listed_anew_after_longer_and_longer(
    tmp_path, monkeypatch, caplog
):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("lost"))
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        await until(lambda: ("lost", True) in recorder.seen)
        lists = len(fake.asked("GET", "/registries$"))
        rule = api_proxy.Rule(TOLD["an error of the server"], path="/registries$", times=2)
        with proxy.having(rule):
            await cut_until_met(proxy, rule)
            fake.vanish(names.REGISTRIES, "team", "lost")
            fake.put(names.REGISTRIES, registry("later"))
            await until(lambda: ("later", True) in recorder.seen and ("lost", False) in recorder.seen, 30)
        assert len(fake.asked("GET", "/registries$")) < lists + 30
    said = [r.getMessage() for r in caplog.records if r.name == "strata_operator.watches"]
    assert len(said) == 2
    assert "etcdserver: no leader" in said[0]
    first, second = (float(text.split()[-2]) for text in said)
    assert first < second


async def test_whatever_a_watch_is_told_ends_nothing_and_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watches, "_LONGEST", 0.05)
    fake = FakeKube(*RESOURCES)

    def said() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "strata_operator.watches"]

    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        for number, (what, told) in enumerate(TOLD.items(), 1):
            rule = api_proxy.Rule(told, path="/registries$", times=1)
            with proxy.having(rule):
                await cut_until_met(proxy, rule)
                fake.put(names.REGISTRIES, registry(f"r{number}"))
                await until(lambda name=f"r{number}": (name, True) in recorder.seen, 30)
                await until(lambda number=number: len(said()) >= number, 30)
            assert len(said()) == number, what
            assert "/registries: " in said()[-1]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_answer_that_is_no_list_and_no_watch_ends_nothing(tmp_path, monkeypatch, caplog, status):
    """404, for example, while a CustomResourceDefinition is replaced, or of an API server that has not seen it yet."""
    monkeypatch.setattr(watches, "_LONGEST", 0.05)
    fake = FakeKube(*RESOURCES)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        rule = api_proxy.Rule(api_proxy.Refuse(status), "GET", "/registries$", times=3)
        with proxy.having(rule):
            await cut_until_met(proxy, rule)
            fake.put(names.REGISTRIES, registry("later"))
            await until(lambda: ("later", True) in recorder.seen, 30)
    assert f"answered {status}: " in caplog.text


async def test_a_list_that_expired_while_kopf_read_it_is_begun_anew(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    for number in range(120):  # more than kopf asks for at once
        fake.put(names.REGISTRIES, registry(f"r{number:03}"))
    expired = []
    answer = fake._list

    def once(resource, namespace, query):
        if query.get("continue") and query.get("limit") == "100" and resource is names.REGISTRIES and not expired:
            expired.append(fake._continues.pop(query["continue"]))
        return answer(resource, namespace, query)

    monkeypatch.setattr(fake, "_list", once)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, _):
        assert expired
        fake.put(names.REGISTRIES, registry("later"))
        await until(lambda: ("later", True) in recorder.seen, 30)


async def test_kopf_makes_no_copies_of_what_it_tells_of(tmp_path, monkeypatch):
    """It would compare each object with an earlier version of it, for handlers that we do not have."""
    copied: list[str] = []
    real = copy.deepcopy

    def noted(value, *more):
        who = sys._getframe(1).f_globals["__name__"]
        if who.startswith("kopf.") and "large" in str(value):
            copied.append(who)
        return real(value, *more)

    monkeypatch.setattr(copy, "deepcopy", noted)
    fake = FakeKube(*RESOURCES)
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, _):
        fake.put(names.REGISTRIES, registry("large"))
        await until(lambda: ("large", True) in recorder.seen)
        await asyncio.sleep(0.3)  # it is told before kopf has done with it
    assert copied == []


async def test_pythons_collector_lets_alone_what_stays_and_runs_seldom():
    before = gc.get_threshold()
    try:
        main._collect_seldom()
        assert gc.get_freeze_count() > 10_000  # all that was imported
        runs = gc.get_stats()[0]["collections"]
        parsed = [[number] for number in range(5000)]
        assert gc.get_stats()[0]["collections"] - runs <= 1
        assert len(parsed) == 5000
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@pytest.mark.parametrize("others", [0, 3])
async def test_what_is_deleted_in_a_gap_is_found_without_waiting_for_the_resync(tmp_path, monkeypatch, others):
    fake = FakeKube(*RESOURCES)
    for name in ("lost", "last", *(f"other-{n}" for n in range(others))):
        fake.put(names.REGISTRIES, registry(name))
    async with behind_a_proxy(fake, tmp_path, monkeypatch) as (recorder, proxy):
        await until(lambda: ("lost", True) in recorder.seen)
        gap = proxy.gap()
        await asyncio.to_thread(gap.__enter__)
        fake.remove(names.REGISTRIES, "team", "lost")
        await asyncio.to_thread(gap.__exit__, None, None, None)
        await until(lambda: ("lost", False) in recorder.seen, 20)
        assert all(found for name, found in recorder.seen if name != "lost")


async def test_nothing_is_reconciled_before_every_kind_was_listed(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("a"))
    fake.fail("GET", "/jobs$", 403, times=1000)
    async with running(fake, tmp_path, monkeypatch) as (recorder, url):
        await until(lambda: len(fake.asked("GET", "/jobs$")) >= 2)
        await asyncio.sleep(0.3)
        assert recorder.seen == []
        status, text = await ask(f"{url}/readyz")
        assert (status, text) == (503, "not listed yet: jobs\n")
        assert (await ask(f"{url}/healthz"))[0] == 200
        fake.faults.clear()
        await until(lambda: ("a", True) in recorder.seen)


async def test_a_reconcile_that_hangs_ends_the_health(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    async with running(fake, tmp_path, monkeypatch, stuck_seconds=0.2) as (recorder, url):
        recorder.hang = True
        fake.put(names.REGISTRIES, registry("a"))
        await until(lambda: recorder.seen)
        await asyncio.sleep(0.4)
        status, text = await ask(f"{url}/healthz")
        assert status == 503
        assert text.startswith("thing team/a has been worked on for")


async def test_lists_that_fail_for_long_end_the_readiness(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    async with running(fake, tmp_path, monkeypatch, resync_seconds=1.0) as (_, url):
        await until_status(f"{url}/readyz", 200)
        fake.fail("GET", "/registries$", 403, times=10_000)
        await until_status(f"{url}/readyz", 503)
        fake.faults.clear()


async def test_two_kinds_cannot_watch_one_resource_by_different_selectors(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    with fake.serving(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))

        def kind(_frame):
            async def nothing(_key):
                return None

            return [
                controller.Controller(k, nothing, (controller.Watch(names.JOBS, controller.itself(k), selector=s),))
                for k, s in (("one", names.OWNED), ("two", ""))
            ]

        with pytest.raises(ValueError, match="jobs is watched with"):
            async with main.assembled(settings.Settings(namespace="x"), (kind,)):
                pass


async def test_an_operator_whose_own_work_breaks_ends_with_the_cause(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    with fake.serving(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        found = settings.Settings(namespace="strata-system", listen=f"127.0.0.1:{free_port()}")
        async with main.assembled(found, (lambda frame: Recorder(frame).controllers(),)) as frame:

            def broken() -> None:
                raise RuntimeError("broken beyond repair")

            monkeypatch.setattr(frame, "begin", broken)
            with pytest.raises(RuntimeError, match="broken beyond repair"):
                async with asyncio.timeout(20):
                    await main.run(frame)


async def test_while_another_holds_the_lease_an_operator_watches_and_does_nothing(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("before"))
    spec = {"holderIdentity": "first", "leaseDurationSeconds": 3600}
    place = {"name": leader.LEASE, "namespace": "strata-system"}
    fake.put(names.LEASES, {"metadata": place, "spec": spec})
    async with running(fake, tmp_path, monkeypatch, pod_name="second") as (recorder, url):
        await until(lambda: fake.asked("GET", f"/{leader.LEASE}$"))
        await until_status(f"{url}/readyz", 200)
        fake.put(names.REGISTRIES, registry("meanwhile"))
        await until(lambda: recorder.frame.cache[names.REGISTRIES].get("team", "meanwhile"))
        assert "strata_leader 0.0" in (await ask(f"{url}/metrics"))[1]
        assert recorder.seen == []
        fake.put(names.LEASES, {"metadata": place, "spec": {**spec, "holderIdentity": ""}})
        await until(lambda: {("before", True), ("meanwhile", True)} <= {*recorder.seen})
        assert "strata_leader 1.0" in (await ask(f"{url}/metrics"))[1]


async def test_an_operator_that_lists_before_it_acts_keeps_the_lease_and_does_not_act_once_another_has_it(
    tmp_path, monkeypatch
):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("one"))
    place = {"name": leader.LEASE, "namespace": "strata-system"}
    fake.put(names.LEASES, {"metadata": place, "spec": {"holderIdentity": "first", "leaseDurationSeconds": 3600}})

    def give(name: str) -> None:
        lease = fake.get(names.LEASES, "strata-system", leader.LEASE)
        fake.put(names.LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": name}})

    def renewed() -> str | None:
        return fake.get(names.LEASES, "strata-system", leader.LEASE)["spec"].get("renewTime")

    with pytest.raises(leader.Lost, match="third holds"):  # noqa: PT012
        async with running(fake, tmp_path, monkeypatch, pod_name="second") as (recorder, url):
            await until(lambda: fake.asked("GET", f"/{leader.LEASE}$"))  # else it need not have waited for it
            await until_status(f"{url}/readyz", 200)
            fake.fail("GET", "/registries$", 403, times=10_000)
            give("")
            await until(lambda: holder(fake) == "second")
            first = renewed()
            await until(lambda: renewed() != first)
            give("third")
            await until_gone(recorder)
            fake.faults.clear()
    assert recorder.seen == []
    assert holder(fake) == "third"


async def test_an_operator_that_has_lost_the_lease_ends_and_does_nothing_more(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("one"))
    with pytest.raises(leader.Lost, match="second holds"):  # noqa: PT012
        async with running(fake, tmp_path, monkeypatch, pod_name="first") as (recorder, _):
            await until(lambda: recorder.seen)
            recorder.seen.clear()
            lease = fake.get(names.LEASES, "strata-system", leader.LEASE)
            fake.put(names.LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "second"}})
            await until_gone(recorder)
            fake.put(names.REGISTRIES, registry("two"))
    assert recorder.seen == []
    assert fake.get(names.LEASES, "strata-system", leader.LEASE)["spec"]["holderIdentity"] == "second"


class Deaf:
    """A kopf of which a request does not notice that it is to end."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self, tasks: list[asyncio.Task], **_: object) -> None:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def deaf(monkeypatch):
    found = Deaf()
    monkeypatch.setattr(watchlayer.kopf, "run_tasks", found)
    monkeypatch.setattr(stopping, "LIMIT", 0.5)
    try:
        yield
    finally:
        found.released.set()


async def test_an_operator_whose_watches_do_not_end_gives_the_lease_up_and_says_so(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    with pytest.raises(stopping.Stuck, match="did not end"):
        async with deaf(monkeypatch), running(fake, tmp_path, monkeypatch, pod_name="first") as _found:
            await until(lambda: holder(fake) == "first")
    assert holder(fake) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_has_the_same_limit(tmp_path, monkeypatch, number):
    fake = FakeKube(*RESOURCES)
    with pytest.raises(stopping.Stuck, match="did not end"):  # noqa: PT012
        async with deaf(monkeypatch), running(fake, tmp_path, monkeypatch, pod_name="first") as _found:
            await until(lambda: holder(fake) == "first")
            os.kill(os.getpid(), number)
            await until(lambda: holder(fake) == "")


async def test_one_that_has_lost_the_lease_says_that_even_if_its_watches_do_not_end(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    with pytest.raises(leader.Lost, match="second holds"):  # noqa: PT012
        async with deaf(monkeypatch), running(fake, tmp_path, monkeypatch, pod_name="first") as (recorder, _):
            await until(lambda: holder(fake) == "first")
            lease = fake.get(names.LEASES, "strata-system", leader.LEASE)
            fake.put(names.LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "second"}})
            await until_gone(recorder)


def holder(fake: FakeKube) -> str | None:
    lease = fake.get(names.LEASES, "strata-system", leader.LEASE)
    return lease and lease["spec"].get("holderIdentity")


async def test_an_operator_that_ends_gives_the_lease_up(tmp_path, monkeypatch):
    fake = FakeKube(*RESOURCES)
    fake.put(names.REGISTRIES, registry("one"))
    async with running(fake, tmp_path, monkeypatch, pod_name="first") as (recorder, _url):
        await until(lambda: recorder.seen)  # who works has seen that the Lease is its own
    assert fake.get(names.LEASES, "strata-system", leader.LEASE)["spec"]["holderIdentity"] == ""
