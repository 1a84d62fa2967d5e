"""Looks at git sources regularly, once for all ImageBuilds of one URL, and wakes those for whom something is new.

What it knows is a cache: who is interested is told by each reconcile, and the status says what was seen. A pool is a key
of a queue whose reconcile is one look.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from strata_builder import contract, errors
from strata_builder.context import credentials
from strata_operator import controller, kube, names, settings
from strata_operator.imagebuild import isolation, questions, refusals
from strata_operator.imagebuild.triggers import asking, pools

KIND: Final = "gitpoll"
_LONGEST: Final = 120.0  # seconds in which a look begins to ask for one login more
_EARLY: Final = 300.0  # seconds in which a start is over: until then an ImageBuild may not have been looked at yet
_EARLIEST: Final = 1000  # hints that are remembered for those
_BUSY: Final = 0.5  # seconds until the next try while a host is asked as much at once as it may be


class Poller:
    """Belongs to one operator. `wake` has an ImageBuild looked at; `clock` gives Unix seconds."""

    def __init__(
        self,
        frame: controller.Frame,
        asker: asking.Asker,
        *,
        wake: Callable[[names.Key], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._frame, self._asker, self._wake, self._clock = frame, asker, wake, clock
        self._pools = pools.Pools()
        self._early: collections.deque[tuple[float, Callable[[names.Key, str], bool]]] = collections.deque(
            maxlen=_EARLIEST
        )

    def watch(self, key: names.Key, interest: pools.Interest | None) -> None:
        """What the ImageBuild `key` wants to be told of now; None: nothing."""
        if interest is None:
            self._pools.forget(key)
            return
        now, known = self._clock(), self._pools.knows(key)
        pool = self._pools.watch(interest, now)
        if not known and any(0.0 <= now - at < _EARLY and wanted(key, pool.url) for at, wanted in self._early):
            pool.hinted = True
        self._frame.enqueue(KIND, _key(pool.url), pool.wait(now))

    def hint(self, wanted: Callable[[names.Key, str], bool]) -> int:
        """Look soon at the sources of those (key, URL) for whom `wanted` is true; returns how many URLs that are.

        A thousand hints for one URL are one look now and one a few seconds later. Whose interest is told only after a
        hint is looked at for it, too.
        """
        now, count = self._clock(), 0
        self._early.append((now, wanted))
        for pool in self._pools.matching(wanted):
            pool.hinted = True
            count += 1
            self._frame.enqueue(KIND, _key(pool.url), pool.wait(now))
        return count

    def known(self, key: names.Key, asked: questions.Polled) -> pools.Outcome | None:
        """What polling has found last for an ImageBuild; None: nothing yet."""
        return self._pools.known(key, asked.url, asked.revision, asked.secret, self._clock())

    async def resolve(self, namespace: str, asked: questions.Commit) -> pools.Outcome | questions.Later:
        """Where one revision stands, asked now."""
        login = await self._login(namespace, asked.secret)
        if not isinstance(login, credentials.Credentials):
            return login
        return self._resolved(await self._asker.ask(asked.url, [asked.revision], login), asked.url, asked.revision)

    async def poll(self, key: names.Key) -> float | None:
        """One look at the pool `key`, if it is its time; returns the seconds until the next."""
        pool, now = self._pools.get(key.name), self._clock()
        if pool is None:
            return None
        if wait := pool.wait(now):
            return wait
        if wait := self._held_up(pool.url):
            self._tell_of_host(pool, now)
            return wait
        outcomes: list[tuple[names.Key, pools.Outcome]] = []
        end = time.monotonic() + _LONGEST
        for interests, login in await self._groups(pool.begin(now)):
            if time.monotonic() > end:
                break  # hundreds of logins at a slow server: the others come first in the next look
            found: asking.Found | credentials.Credentials = login
            if isinstance(login, credentials.Credentials):
                found = await self._asker.ask(pool.url, _revisions(interests), login)
            if isinstance(found, questions.Later) and outcomes:
                break  # the host has failed meanwhile
            if isinstance(found, questions.Later):
                return found.seconds + self._spread(pool.url, found.seconds)
            interests = [one for one in interests if pool.still(one)]
            outcomes += [(one.key, self._resolved(found, pool.url, one.revision)) for one in interests]
        for woken in self._pools.answered(pool, now, outcomes):
            self._wake(woken)
        return pool.wait(self._clock())

    def _tell_of_host(self, pool: pools.Pool, now: float) -> None:
        """That it could not be asked for two intervals is worth saying."""
        reason = self._asker.hosts.reason(asking.host(pool.url) or "")
        if reason and now - pool.asked > 2 * pool.interval:
            failure = contract.Failure("SourceUnavailable", asking.left_alone(reason), retryable=True)
            for woken in self._pools.told(pool, now, [(key, failure) for key in pool.members]):
                self._wake(woken)

    def _held_up(self, address: str) -> float:
        """Seconds for which nobody asks the host of a URL, as it failed or has enough to do; a worker is not kept waiting."""
        if (host := asking.host(address)) is None:
            return 0.0
        if wait := self._asker.hosts.wait(host):
            return wait + self._spread(address, wait)
        return _BUSY if self._asker.hosts.full(host) else 0.0

    def _spread(self, address: str, wait: float) -> float:
        """So that a host which comes back is not asked for everything at once."""
        return hashlib.sha256(address.encode("utf-8", "surrogatepass")).digest()[8] / 256 * wait

    async def _groups(
        self, wanted: Sequence[pools.Interest]
    ) -> list[tuple[list[pools.Interest], credentials.Credentials | questions.Unseen | contract.Failure]]:
        """`wanted` by what they log in with: Secrets of equal contents are one, in whichever namespaces they are."""
        found: dict[object, tuple[list[pools.Interest], object]] = {}
        secrets: dict[tuple[str, str], credentials.Credentials | questions.Unseen | contract.Failure] = {}
        for one in wanted:
            place = (one.key.namespace if one.secret else "", one.secret)
            if place not in secrets:
                secrets[place] = await self._login(*place)
            login = secrets[place]
            found.setdefault(login, ([], login))[0].append(one)
        return list(found.values())  # type: ignore[arg-type]

    async def _login(
        self, namespace: str, secret: str
    ) -> credentials.Credentials | questions.Unseen | contract.Failure:
        """The user's Secret, if its namespace lets the operator read it."""
        if not secret:
            return credentials.ANONYMOUS
        try:
            body = await self._frame.kube.get(names.SECRETS, namespace, secret)
        except kube.Forbidden:
            return questions.Unseen(_may_not_read(namespace, secret, self._frame.settings))
        if body is None:
            return refusals.missing("Secret", secret, "spec.source")
        try:
            data = {k: base64.b64decode(v) for k, v in (body.get("data") or {}).items()}
            return credentials.Credentials.of(data)
        except errors.BuildError as e:
            return isolation.failure(e)

    def _resolved(self, found: object, url: str, revision: str) -> pools.Outcome:
        if not isinstance(found, bytes):
            return found  # type: ignore[return-value]
        chosen = asking.chosen(found, revision, url)
        if isinstance(chosen, questions.Resolved):
            return questions.Resolved(chosen.commit, chosen.ref, checked=self._clock())
        return chosen


def _key(url: str) -> names.Key:
    return names.Key("", url)


def _revisions(interests: Iterable[pools.Interest]) -> list[str]:
    return list(dict.fromkeys(one.revision for one in interests))


def _may_not_read(namespace: str, name: str, options: settings.Settings) -> str:
    return (
        f"the operator may not read Secret {name}, so only builder pods can look at the source. To let it:"
        f" kubectl create rolebinding {names.SECRET_READER} --namespace {namespace}"
        f" --clusterrole {names.SECRET_READER} --serviceaccount {options.namespace}:{options.service_account}"
    )
