"""The one poller of all base images, over sockets: who is woken and when, how many requests that takes, and how servers
that throttle, fail or lie low are treated. What a real registry cannot be made to do is a fake's."""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator

import pytest

from strata_builder.oci import mediatypes
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import errors as registry_errors
from strata_operator import addresses, metrics, names, queue
from strata_operator.imagebuild.triggers import baseknown, baselook, basepoller, paces
from support.drips import BEGINNINGS, Drips
from support.fake_registry import Answer, CloseAfter, FakeRegistry

pytestmark = pytest.mark.asyncio
REPO = "library/debian"
HERE = addresses.Filter.of(["127.0.0.0/8"])
PLATFORM = Platform.parse("linux/amd64")


def put(fake: FakeRegistry, text: str, tag: str = "12") -> str:
    config = {"mediaType": mediatypes.OCI_CONFIG, "digest": fake.add_blob(REPO, b"{}"), "size": 2}
    body = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": config, "layers": [],
            "annotations": {"text": text}}  # fmt: skip
    return fake.add_manifest(REPO, json.dumps(body).encode(), mediatypes.OCI_MANIFEST, tag)


class Course:
    """A poller with its queue, at a time that only moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.woken: list[str] = []
        self.clients = baselook.Clients(HERE.hook)
        self.waits: dict[names.Key, float] = {}
        self.poller = basepoller.Poller(
            self.clients, poll_in=self._poll_in, tell=self._tell, clock=lambda: self.now
        )  # fmt: skip

    def _tell(self, woken: Iterable[names.Key]) -> None:
        self.woken += sorted(who.name for who in woken)

    def _poll_in(self, key: names.Key, seconds: float) -> None:
        self.waits[key] = min(self.waits.get(key, seconds), seconds)

    async def work(self) -> list[float | None]:
        """Polls what is due now, as often as it wants to be at once; gives what each poll waits for at last."""
        ends: list[float | None] = []
        while due := [key for key, wait in self.waits.items() if wait <= 0]:
            for key in due:
                del self.waits[key]
            for key, wait in zip(due, await asyncio.gather(*map(self.poller.poll, due)), strict=True):
                ends.append(wait)
                if wait is not None:
                    self._poll_in(key, wait)
        return ends

    async def later(self, seconds: float) -> list[float | None]:
        self.now += seconds
        self.waits = {key: wait - seconds for key, wait in self.waits.items()}
        return await self.work()

    def interested(
        self, who: str, *places: baselook.Place, recorded: str = "", interval: float = 3600.0
    ) -> list[baseknown.Known]:
        wanted = baseknown.Interest(interval, frozenset({recorded}))
        return list(self.poller.interested(names.Key("team", who), dict.fromkeys(places, wanted)).values())

    def told(self) -> list[str]:
        told, self.woken = self.woken, []
        return told


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def course() -> Iterator[Course]:
    made = Course()
    try:
        yield made
    finally:
        made.poller.close()


def place(*through: str, tag: str = "12", repository: str = REPO) -> baselook.Place:
    """The image at the last of these hosts, the others being its mirrors."""
    sources = tuple(baselook.Source(host, repository, insecure=True) for host in through)
    return baselook.Place(Reference.parse(f"{through[-1]}/{repository}:{tag}"), PLATFORM, sources)


async def test_two_thousand_builds_with_one_base_are_served_by_one_look(fake, course):
    one = put(fake, "one")
    for number in range(2000):
        course.interested(f"b{number:04}", place(fake.host), recorded=one)
    await course.work()
    assert len(fake.requests("HEAD")) == 1
    assert course.told() == []
    put(fake, "two")
    await course.later(3960)
    assert len(fake.requests("HEAD")) == 2
    assert course.told() == [f"b{number:04}" for number in range(2000)]


async def test_an_image_build_is_woken_only_by_news_for_it(fake, course):
    one = put(fake, "one")
    course.interested("same", place(fake.host), recorded=one)
    course.interested("older", place(fake.host), recorded="sha256:older")
    await course.work()
    assert course.told() == ["older"]
    await course.later(7200)
    assert course.told() == []


async def test_what_was_seen_before_an_image_was_built_is_no_news_for_it_and_it_is_looked_at_anew(fake, course):
    one = put(fake, "one")
    known = course.interested("a", place(fake.host), recorded=one)[0]
    await course.work()
    two = put(fake, "two")
    course.interested("b", place(fake.host), recorded=two)  # built a moment ago for another reason
    assert known.found_for(names.Key("team", "b")) is None
    assert known.found_for(names.Key("team", "a")).digest == one
    await course.later(baseknown.BETWEEN)
    assert course.told() == ["a"]
    assert known.found_for(names.Key("team", "b")).digest == two
    put(fake, "one")
    await course.later(3960)
    assert course.told() == ["b"]
    course.poller.forget(names.Key("team", "b"))  # while it is built; it meets `two`, which is gone again by now
    course.interested("b", place(fake.host), recorded=two)
    assert course.told() == []
    await course.later(baseknown.BETWEEN)
    assert course.told() == ["b"]
    assert known.found_for(names.Key("team", "b")).digest == one


async def test_a_look_that_began_before_an_image_was_built_settles_no_doubt(fake, course):
    one = put(fake, "one")
    known = course.interested("a", place(fake.host), recorded=one)[0]
    await course.work()
    course.now += 1
    course.interested("b", place(fake.host), recorded="sha256:newer")
    course.poller._found(known, known.found)  # the answer comes only now
    assert (known.found_for(names.Key("team", "b")), course.told()) == (None, [])
    await course.later(baseknown.BETWEEN)
    assert (known.found_for(names.Key("team", "b")).digest, course.told()) == (one, ["b"])


async def test_the_shortest_interval_counts_and_looks_are_jittered(fake, course):
    put(fake, "one")
    known = course.interested("slow", place(fake.host), interval=7200)
    await course.work()
    course.interested("quick", place(fake.host), interval=60)
    assert known[0].interval == 60
    waits = [wait for _ in range(20) for wait in await course.later(66)]
    assert all(54 <= wait <= 66 for wait in waits)
    assert len(set(waits)) > 1


async def test_a_look_that_many_ask_for_at_once_is_done_once(fake, course):
    put(fake, "one")
    first = place(fake.host)
    course.interested("a", first)
    async with asyncio.TaskGroup() as group:
        group.create_task(course.work())
        await asyncio.sleep(0)
        for who in "bcd":
            course.interested(who, first)
    await course.work()
    assert len(fake.requests("HEAD")) == 1


async def test_a_hint_has_it_looked_at_now_and_one_of_another_image_does_not(fake, course):
    put(fake, "one")
    course.interested("a", place(fake.host))
    await course.work()
    assert course.poller.now(fake.host, REPO, "13") == 0
    assert course.poller.now(fake.host, "library/alpine") == 0
    assert course.poller.now(fake.host, REPO, "12") == 1
    for _ in range(1000):
        assert course.poller.now(fake.host, REPO) == 1
        await course.work()
    assert len(fake.requests("HEAD")) == 1  # the last look was this very moment
    await course.later(baseknown.BETWEEN)
    assert len(fake.requests("HEAD")) == 2


@pytest.mark.parametrize("fault", [Answer(503), Answer(429), Answer(500), CloseAfter(0)])
async def test_a_hint_holds_until_it_was_looked_at(fake, course, fault):
    one = put(fake, "one")
    course.interested("a", place(fake.host), recorded=one)
    await course.work()
    put(fake, "two")
    for _ in range(3):
        fake.fault("HEAD", "/manifests/12", fault)
        fake.fault("GET", "/manifests/12", fault)
    course.now += 60
    course.poller.now(fake.host, REPO, "12")
    for _ in range(120):
        await course.later(1)
    assert set(course.told()) == {"a"}
    assert [known.problem for known in course.poller._known.values()] == [None]
    asked = len(fake.requests("HEAD"))
    for _ in range(600):
        await course.later(1)
    assert len(fake.requests("HEAD")) == asked


@pytest.mark.parametrize(
    ("fault", "said"), [(Answer(503), "answered 503"), (Answer(429), "answered 429"), (CloseAfter(0), "broke off")]
)
async def test_who_waits_for_a_host_is_not_told_what_others_asked_it_for(fake, course, fault, said):
    for _ in range(9):
        fake.fault("HEAD", "/manifests/acquisition", fault)
    course.interested("a", place(fake.host, repository="library/merger", tag="acquisition"))
    await course.work()
    course.interested("b", place(fake.host))
    put(fake, "one")
    known = next(one for one in course.poller._known.values() if one.place.reference.version == "12")
    for _ in range(basepoller._PATIENCE + 1):
        await course.poller.poll(next(key for key, one in course.poller._known.items() if one is known))
    assert known.problem is not None
    assert (said in known.problem.message, fake.host in known.problem.message) == (True, True)
    assert not [word for word in ("merger", "acquisition") if word in known.problem.message]


async def test_a_host_that_is_away_is_told_with_what_is_wrong(course):
    course.interested("a", place("127.0.0.1:1"))
    await course.work()
    (known,) = course.interested("b", place("127.0.0.1:1", tag="13"))
    for _ in range(basepoller._PATIENCE + 1):
        await course.poller.poll(next(key for key, one in course.poller._known.items() if one is known))
    assert known.problem is not None
    assert known.problem.message.startswith("cannot connect to 127.0.0.1:1: ")


async def test_a_hint_to_look_at_what_is_refused_is_one_look(fake, course):
    put(fake, "one")
    course.interested("a", place(fake.host))
    await course.work()
    for _ in range(9):
        fake.fault("HEAD", "/manifests/12", Answer(403))
    course.now += 60
    course.poller.now(fake.host, REPO, "12")
    for _ in range(600):
        await course.later(1)
    assert len(fake.requests("HEAD")) == 2


async def test_what_nobody_wants_to_know_is_not_looked_at(fake, course):
    put(fake, "one")
    course.interested("a", place(fake.host))
    await course.work()
    course.poller.forget(names.Key("team", "a"))
    assert await course.later(3960) == [None]
    assert len(fake.requests("HEAD")) == 1
    assert course.poller.now(fake.host, REPO) == 0


async def test_too_many_requests_hold_up_all_of_a_host_for_as_long_as_it_says_and_no_other(fake, course):
    put(fake, "one")
    put(fake, "other", "13")
    fake.fault("HEAD", "/manifests/12", Answer(429, headers={"Retry-After": "900"}))
    course.interested("a", place(fake.host))
    await course.work()
    course.interested("b", place(fake.host, tag="13"))
    await course.work()
    with FakeRegistry() as another:
        put(another, "one")
        course.interested("c", place(another.host))
        await course.work()
        assert len(another.requests("HEAD")) == 1
    assert len(fake.requests("HEAD")) == 1
    await course.later(899)
    assert len(fake.requests("HEAD")) == 1
    for _ in range(4):
        await course.later(300)
    assert len(fake.requests("HEAD", "/manifests/13")) == 1


async def test_a_registry_that_is_away_for_a_moment_is_told_to_nobody_and_one_that_stays_away_once(fake, course):
    one = put(fake, "one")
    known = course.interested("a", place(fake.host), recorded=one, interval=60)[0]
    await course.work()
    fake.fault("HEAD", "/manifests/", *[Answer(503)] * 3)
    for _ in range(2):
        await course.later(1800)
    assert (known.problem, course.told()) == (None, [])
    await course.later(1900)
    assert known.problem is not None
    assert (known.problem.reason, course.told()) == ("RegistryUnavailable", ["a"])
    assert known.found is not None  # what was known stays known
    await course.later(4000)
    assert (known.problem, course.told()) == (None, ["a"])


@pytest.mark.parametrize(
    ("answer", "reason", "denied"),
    [
        (Answer(401, headers={"WWW-Authenticate": 'Basic realm="r"'}), "AccessNotGranted", True),
        (Answer(403), "AccessNotGranted", True),
        (Answer(404), "BaseImageNotFound", True),
        (Answer(400), "RegistryUnavailable", False),
    ],
)
async def test_what_a_repetition_would_not_change_is_told_at_once_and_asked_ever_more_rarely(
    fake, course, answer, reason, denied
):
    fake.fault("HEAD", "/manifests/", *[answer] * 20)
    known = course.interested("a", place(fake.host), interval=60)[0]
    waits = [wait for wait in await course.work() if wait]
    assert known.problem is not None
    assert (known.problem.reason, known.problem.denied) == (reason, denied)
    for _ in range(8):
        waits += [wait for wait in await course.later(2000) if wait]
    assert waits[0] == pytest.approx(120, rel=0.11)
    assert waits[-1] == pytest.approx(1800, rel=0.11)
    assert course.told() == ["a"] * (len(waits) if denied else 1)  # its Secrets are to be read again


@pytest.mark.parametrize(
    "answer", [Answer(401, headers={"WWW-Authenticate": 'Basic realm="r"'}), Answer(404), Answer(400), Answer(503)]
)
async def test_those_who_are_told_that_it_cannot_be_seen_have_it_asked_no_sooner(fake, course, answer):
    """Each wake is a look at the ImageBuild, which says once more what it is interested in."""
    fake.fault("HEAD", "/manifests/", *[answer] * 1000)
    course.interested("a", place(fake.host), interval=60)
    await course.work()
    for _ in range(600):
        for who in [*course.told(), "another"]:
            course.interested(who, place(fake.host), interval=60)
        await course.later(1)
    assert 2 <= len(fake.requests("HEAD")) <= 9


async def test_a_shorter_interval_counts_from_the_last_look(fake, course):
    one = put(fake, "one")
    course.interested("slow", place(fake.host), recorded=one, interval=7200)
    await course.work()
    await course.later(100)
    course.interested("quick", place(fake.host), recorded=one, interval=120)
    await course.later(19)
    assert len(fake.requests("HEAD")) == 1
    await course.later(2)
    assert len(fake.requests("HEAD")) == 2


async def test_the_last_requests_that_a_registry_allows_are_not_taken(fake, course):
    put(fake, "one")
    scarce = {"ratelimit-remaining": "15;w=21600", "ratelimit-limit": "100;w=21600"}
    digest = put(fake, "one")
    headers = {
        "Docker-Content-Digest": digest,
        "Content-Type": mediatypes.OCI_MANIFEST,
        "Content-Length": "9",
        **scarce,
    }
    fake.fault("HEAD", "/manifests/", Answer(200, headers=headers))
    course.interested("a", place(fake.host), recorded=digest, interval=60)
    await course.work()
    await course.later(3590)
    assert len(fake.requests("HEAD")) == 1
    await course.later(20)
    assert len(fake.requests("HEAD")) == 2


async def test_a_mirror_is_asked_first_and_passed_over_when_it_fails(fake, course):
    with FakeRegistry() as mirror:
        one, two = put(mirror, "one"), put(fake, "two")
        known = course.interested("a", place(mirror.host, fake.host), recorded=one, interval=60)[0]
        await course.work()
        assert known.found is not None
        assert (known.found.digest, len(fake.requests("HEAD"))) == (one, 0)
        mirror.fault("HEAD", "/manifests/", Answer(503))
        await course.later(70)
        assert known.found is not None
        assert (known.found.digest, course.told()) == (two, ["a"])


async def test_a_host_that_is_waited_for_does_not_hold_up_the_others(fake, course):
    """Ten thousand places at one host come one after another."""
    for number in range(50):
        course.interested(f"b{number}", place(fake.host, tag=f"t{number}"))
    ends = await course.work()
    assert sorted(wait for wait in ends if wait)[:3] == pytest.approx([paces.PACE, 2 * paces.PACE, 3 * paces.PACE])
    assert len(fake.requests("HEAD")) == 1


async def test_hosts_that_answer_byte_by_byte_do_not_keep_the_others_waiting(fake, course, monkeypatch):
    monkeypatch.setattr(baselook, "_LONGEST", 0.5)
    put(fake, "one")
    with Drips(BEGINNINGS["header"]) as one, Drips(BEGINNINGS["status"]) as two:
        slow = [place(host, tag=f"t{n}") for host in (one.host, two.host) for n in range(paces.AT_ONCE)]
        for n, each in enumerate(slow):
            (known,) = course.interested(f"b{n}", each)
            known.its_turn = True  # all at once: as many as there are workers
        known = course.interested("a", place(fake.host))[0]
        async with asyncio.timeout(20):
            await course.work()
    assert known.found is not None


async def test_a_look_ends_before_all_of_many_slow_mirrors_were_asked(fake, course, monkeypatch):
    def slow(*_: object) -> None:
        course.now += 50
        raise registry_errors.Unavailable("no answer in time")

    monkeypatch.setattr(course.poller, "_ask", slow)
    hosts = [f"mirror-{n}.example" for n in range(32)]
    course.interested("a", place(*hosts, fake.host))
    began = course.now
    await course.work()
    assert course.now - began < 200


async def test_the_operators_queue_drives_it(fake, course):
    put(fake, "one")
    woken = asyncio.Event()
    drives = queue.Queue(basepoller.KIND, course.poller.poll, metrics.Metrics(), workers=4)
    course.poller._poll_in, course.poller._tell = drives.add_after, lambda _who: woken.set()
    work = asyncio.create_task(drives.run())
    course.interested("a", place(fake.host), recorded="sha256:older")
    async with asyncio.timeout(20):
        await woken.wait()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
