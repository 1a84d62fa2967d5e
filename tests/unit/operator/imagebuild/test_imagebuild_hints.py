"""A hint is for news that may be there now: whatever comes in the way of the look, another one follows soon."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import kube, names, settings
from strata_operator.imagebuild import questions
from strata_operator.imagebuild.triggers import hosts, poller, pools

pytestmark = pytest.mark.asyncio
URL = "https://git.example/app.git"
WEB, API = names.Key("team", "web"), names.Key("team", "api")
OLD, NEW = "a" * 40, "b" * 40
SIX_HOURS = 6 * 3600.0
DOWN = contract.Failure("SourceUnavailable", "git.example answered 503", retryable=True)
REFUSED = contract.Failure("SourceAuthFailed", "git.example refused the credentials")


class Course:
    """A poller before a host that gives `answers` one after the other; each is called if it can be."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.answers: list[Any] = []
        self.asked = 0
        self.woken: list[names.Key] = []
        frame: Any = SimpleNamespace(
            settings=settings.Settings("strata-system"), kube=SimpleNamespace(get=self._secret), enqueue=lambda *_: None
        )
        asker: Any = SimpleNamespace(hosts=hosts.Hosts(lambda: self.now, per_host=4, overall=16), ask=self._ask)
        self.secret: Callable[[str], Any] = lambda _name: {"data": {"password": "cA=="}}
        self.poller = poller.Poller(frame, asker, wake=self.woken.append, clock=lambda: self.now)

    async def _secret(self, _resource: names.Resource, _namespace: str, name: str) -> Any:
        return self.secret(name)

    async def _ask(self, *_: Any) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else listing(NEW)
        return answer() if callable(answer) else answer

    def watch(self, key: names.Key = WEB, *, secret: str = "", commit: str = OLD) -> None:
        interest = pools.Interest(key, URL, "main", secret, SIX_HOURS, commit=commit, checked=self.now)
        self.poller.watch(key, interest)

    async def hinted(self, within: float) -> None:
        """A hint, and all looks that follow in so many seconds."""
        self.now += 60
        assert self.poller.hint(lambda *_: True) == 1
        await self.look(within)

    async def look(self, within: float) -> None:
        end = self.now + within
        while self.now <= end:
            wait = await attempt(self.poller.poll(names.Key("", URL)))
            self.now += max(wait, 0.1)

    def known(self, key: names.Key = WEB, secret: str = "") -> Any:
        found = self.poller.known(key, questions.Polled(URL, "main", secret))
        return found.commit if isinstance(found, questions.Resolved) else found


async def attempt(look: Awaitable[float | None]) -> float:
    """Seconds until the next one, as of the queue: what raises is tried again after a second."""
    try:
        return await look or 0.0
    except kube.KubeError:
        return 1.0


def listing(commit: str) -> bytes:
    return f"{commit}\trefs/heads/main\n".encode()


async def test_a_host_that_fails_just_now_is_asked_again_as_soon_as_it_may_be():
    here = Course()
    here.watch()
    here.answers = [DOWN, DOWN, DOWN]
    await here.hinted(within=200)
    assert here.known() == NEW


async def test_an_api_server_that_does_not_give_the_secret_delays_it_alone():
    here = Course()
    here.watch(secret="login")
    refusals = [kube.Unreachable(0, "Unreachable", "no answer")] * 2

    def secret(_name: str) -> Any:
        if refusals:
            raise refusals.pop()
        return {"data": {"password": "cA=="}}

    here.secret = secret
    await here.hinted(within=30)
    assert here.known(secret="login") == NEW


@pytest.mark.parametrize("what", ["slow", "later"])
async def test_whose_turn_did_not_come_has_it_in_the_next_look(monkeypatch, what):
    here = Course()
    here.watch(WEB)
    here.watch(API, secret="login")
    if what == "slow":
        ticks = iter([0.0, 0.0, poller._LONGEST + 1])
        monkeypatch.setattr(poller, "time", SimpleNamespace(monotonic=lambda: next(ticks, 0.0), time=time.time))
    else:
        here.answers = [listing(NEW), questions.Later(5.0, "it failed")]
    await here.hinted(within=30)
    assert [here.known(WEB), here.known(API, "login")] == [NEW, NEW]


async def test_an_answer_that_a_build_has_overtaken_is_asked_for_again():
    """It may have met what was pushed after the build looked."""
    here = Course()
    here.watch()

    def overtaken() -> bytes:
        here.watch(commit="c" * 40)
        return listing(NEW)

    here.answers = [overtaken]
    await here.hinted(within=30)
    assert here.known() == NEW


@pytest.mark.parametrize("answer", [listing(NEW), REFUSED, questions.Unseen("inside the cluster")])
async def test_what_was_answered_is_not_asked_for_again(answer):
    here = Course()
    here.watch()
    here.answers = [answer] * 9
    await here.hinted(within=600)
    assert here.asked == 1


async def test_who_is_not_interested_any_more_is_looked_for_no_more():
    here = Course()
    here.watch()
    here.watch(API)

    def gone() -> bytes:
        here.poller.watch(WEB, None)
        return listing(NEW)

    here.answers = [gone]
    await here.hinted(within=600)
    assert here.asked == 1


async def test_a_hint_that_comes_before_its_imagebuild_was_looked_at_counts_all_the_same():
    """As after a start, where the last of thousands is looked at after seconds."""
    here = Course()
    assert here.poller.hint(lambda _key, url: url == URL) == 0
    here.now += 20
    here.watch()
    await here.look(within=30)
    assert here.known() == NEW
    here.watch(commit=NEW)
    await here.look(within=600)
    assert here.asked == 1


@pytest.mark.parametrize(("url", "after"), [(URL, 3600.0), ("https://git.example/other.git", 20.0)])
async def test_a_hint_of_long_ago_or_of_another_repository_does_not(url, after):
    here = Course()
    here.poller.hint(lambda _key, found: found == url)
    here.now += after
    here.watch()
    await here.look(within=600)
    assert here.asked == 0


async def test_hints_that_nobody_waits_for_take_no_more_than_so_much_memory():
    here = Course()
    for _ in range(5000):
        here.poller.hint(lambda *_: False)
    assert len(here.poller._early) <= poller._EARLIEST
