"""Which git sources are looked at when: all ImageBuilds of one URL together. Pure; moments are Unix seconds.

A pool is asked in the shortest interval that any of its members wants, at a moment of its own in that interval which
follows from its URL: so many pools are spread evenly, also after a restart, and a restart changes no moment. A member is
told at the first of these moments at which its own interval has passed. A moment that lies ahead was told by a clock that
has been set back since, and delays nobody.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import questions

Outcome = questions.Resolved | questions.Unseen | contract.Failure

BETWEEN: Final = 10.0  # seconds between two looks because of hints: a thousand of them are one look, and one after
_SLOWEST: Final = 1800.0  # how rarely what fails is asked, unless it is polled more rarely anyway
#: Status writes a second, over all, that only say when a source was last looked at. With more of them, thousands of
#: polled ImageBuilds would cost the API server more than all their builds do.
WRITES: Final = 1.0


@dataclass(frozen=True, slots=True)
class Interest:
    """What an ImageBuild wants to know, and what its status says: the `commit` of its newest build, whether polling is
    said to `fail`, and when the source was last `checked`."""

    key: names.Key
    url: str
    revision: str
    secret: str
    interval: float  # seconds
    commit: str = ""
    fails: bool = False
    checked: float = 0.0


@dataclass(slots=True)
class _Member:
    interest: Interest
    told: float
    outcome: Outcome | None = None
    said: str = ""  # the failure of which its ImageBuild was woken
    owed: bool = False  # a hint was for it, and nothing has answered since

    def overtaken(self, commit: str) -> None:
        """A build of `commit` has begun: another one that was found before is older, and begins none."""
        if isinstance(self.outcome, questions.Resolved) and self.outcome.commit != commit:
            self.outcome = None


@dataclass(slots=True)
class Pool:
    """All that look at one URL."""

    url: str
    members: dict[names.Key, _Member] = field(default_factory=dict)
    asked: float = 0.0
    failures: int = 0
    hinted: bool = False

    @property
    def interval(self) -> float:
        return min((m.interest.interval for m in self.members.values()), default=math.inf)

    def wait(self, now: float) -> float:
        """Seconds until it is to be asked; 0 if now."""
        self.asked = min(self.asked, now)
        slow = min(self.interval * 2.0 ** min(self.failures, 10), max(self.interval, _SLOWEST))
        moment = next_moment(self.url, slow, self.asked + slow / 2)
        if self.hinted:
            moment = min(moment, self.asked + BETWEEN)
        elif any(member.owed for member in self.members.values()):
            moment = min(moment, self.asked + min(BETWEEN * 2.0 ** min(self.failures, 10), _SLOWEST))
        return max(moment - now, 0.0)

    def still(self, interest: Interest) -> bool:
        """Whether nothing was built meanwhile for this interest of a look that began before: that may have met more."""
        member = self.members.get(interest.key)
        return member is not None and member.interest.commit == interest.commit

    def begin(self, now: float) -> list[Interest]:
        """Whom a look that begins now is for, who waits for longest first: those whose own interval has passed, or all
        after a hint, and again whom such a look did not come to or got no answer for."""
        slack = self.interval / 2
        for member in self.members.values() if self.hinted else ():
            member.owed = True
        self.hinted = False  # one that comes while the source is asked counts anew
        due = [m for m in self.members.values() if m.owed or not 0.0 <= now - m.told < m.interest.interval - slack]
        return [m.interest for m in sorted(due, key=lambda member: member.told)]


class Pools:
    """All pools, and who is in which."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._urls: dict[names.Key, str] = {}

    def __len__(self) -> int:
        return len(self._pools)

    def knows(self, key: names.Key) -> bool:
        return key in self._urls

    def get(self, url: str) -> Pool | None:
        return self._pools.get(url)

    def matching(self, wanted: Callable[[names.Key, str], bool]) -> Iterator[Pool]:
        """Pools with a member (key, URL) for whom `wanted` is true."""
        return (p for p in self._pools.values() if any(wanted(key, p.url) for key in p.members))

    def watch(self, interest: Interest, now: float) -> Pool:
        """Have `interest` served, in place of what its ImageBuild wanted before; what is known already is kept.

        A moment that passed before anybody was interested is no reason to ask at once.
        """
        if self._urls.get(interest.key) != interest.url:
            self.forget(interest.key)
        pool = self._pools.setdefault(interest.url, Pool(interest.url))
        checked = interest.checked if interest.checked <= now else 0.0
        member = pool.members.get(interest.key)
        if member and (member.interest.revision, member.interest.secret) == (interest.revision, interest.secret):
            if interest.commit != member.interest.commit:
                member.overtaken(interest.commit)
            member.interest = interest
            member.told = max(member.told, checked)
        else:
            pool.members[interest.key] = _Member(interest, checked)
            pool.asked = max(pool.asked, now - pool.interval / 2)
        pool.asked = max(pool.asked, checked)
        self._urls[interest.key] = interest.url
        return pool

    def forget(self, key: names.Key) -> None:
        """It is not interested any more."""
        url = self._urls.pop(key, None)
        if url is not None:
            pool = self._pools[url]
            pool.members.pop(key, None)
            if not pool.members:
                del self._pools[url]

    def known(self, key: names.Key, url: str, revision: str, secret: str, now: float) -> Outcome | None:
        """What was found last for an interest, None if nothing yet. `checked` is given when it is time to write it."""
        pool = self._pools.get(url)
        member = pool.members.get(key) if pool else None
        if not member or (member.interest.revision, member.interest.secret) != (revision, secret):
            return None
        outcome = member.outcome
        if isinstance(outcome, questions.Resolved) and not self._news(member) and not self._stale(member, now):
            return questions.Resolved(outcome.commit, outcome.ref)
        return outcome

    def answered(self, pool: Pool, now: float, outcomes: Sequence[tuple[names.Key, Outcome]]) -> list[names.Key]:
        """The source was asked: keep what was found. Returns those for whom it is news, or whose status is to say when."""
        failures = [isinstance(outcome, contract.Failure) for _, outcome in outcomes]
        pool.asked = now
        pool.failures = pool.failures + 1 if failures and all(failures) else 0
        for key, outcome in outcomes:
            if (member := pool.members.get(key)) is not None:
                member.told = now
                member.owed = member.owed and isinstance(outcome, contract.Failure) and outcome.retryable
        return self.told(pool, now, outcomes)

    def told(self, pool: Pool, now: float, outcomes: Iterable[tuple[names.Key, Outcome]]) -> list[names.Key]:
        """As `answered`, of a source that could not be asked: it is asked as soon as that can be."""
        woken = []
        for key, outcome in outcomes:
            if (member := pool.members.get(key)) is not None:
                member.outcome = outcome
                if self._news(member) or self._stale(member, now):
                    woken.append(key)
                member.said = _failure(outcome)
        return woken

    def _news(self, member: _Member) -> bool:
        if isinstance(member.outcome, questions.Resolved):
            return member.outcome.commit != member.interest.commit or member.interest.fails
        return member.outcome is not None and (
            not member.interest.fails or _failure(member.outcome) != member.said
        )  # fmt: skip

    def _stale(self, member: _Member, now: float) -> bool:
        """Whether it is time to write when the source was last looked at."""
        often = max(member.interest.interval * 0.9, len(self._urls) / WRITES)
        return isinstance(member.outcome, questions.Resolved) and not 0.0 <= now - member.interest.checked < often


def next_moment(url: str, interval: float, after: float) -> float:
    """The first moment not before `after` at which `url` is asked, if it is asked every `interval` seconds."""
    number = int.from_bytes(hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    phase = interval * (number / 2.0**64)
    return phase + math.ceil((after - phase) / interval) * interval


def _failure(outcome: Outcome) -> str:
    return "" if isinstance(outcome, questions.Resolved) else outcome.message
