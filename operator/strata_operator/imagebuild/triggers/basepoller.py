"""One poller for the base images of all ImageBuilds: what they have in common is looked at once.

An ImageBuild that is looked at says which places it is interested in, and gets what is known of them; it never waits for
a registry. The poller's own queue looks at each place when the shortest interval of those interested has passed, and
wakes an ImageBuild only when there is news for it. All of this is memory: after a restart every ImageBuild says again
what it is interested in, and each place is asked once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from strata_builder import errors
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import heads
from strata_operator import names
from strata_operator.imagebuild import chains
from strata_operator.imagebuild.triggers import baseknown
from strata_operator.imagebuild.triggers.baseknown import Interest, Known, Problem
from strata_operator.imagebuild.triggers.baselook import Clients, Place, Source, look
from strata_operator.imagebuild.triggers.bases import Found
from strata_operator.imagebuild.triggers.hosts import Hosts
from strata_operator.imagebuild.triggers.paces import AT_ONCE, PACE, Paces

log = logging.getLogger(__name__)

KIND: Final = "base-image"
WORKERS: Final = 8
#: Failures in a row that are told to nobody: registries are away for a moment now and then.
_PATIENCE: Final = 2
_LONGEST: Final = 120.0  # seconds in which a look begins to ask one host more
#: Part of a limited number of requests that polls leave to builds and nodes, which share the address and the account.
_RESERVE: Final = 0.2


class Poller:
    """Belongs to one event loop. `poll_in(key, seconds)` has a place looked at, `tell` takes the ImageBuilds for which there
    is news; `clock` gives seconds, and nobody sets it."""

    def __init__(
        self,
        clients: Clients,
        *,
        poll_in: Callable[[names.Key, float], None],
        tell: Callable[[Iterable[names.Key]], None],
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._poll_in = poll_in
        self._tell = tell
        self._clock = clock
        self._hosts = Hosts(clock, per_host=AT_ONCE, overall=WORKERS)
        self._paces = Paces(clock)
        self._places: dict[Place, names.Key] = {}
        self._named: dict[tuple[str, str], set[names.Key]] = {}  # (host, repository) -> places, mirrors' names too
        self._known: dict[names.Key, Known] = {}
        self._interests: dict[names.Key, frozenset[names.Key]] = {}
        self._numbers = 0
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix=KIND)

    def interested(self, who: names.Key, wanted: Mapping[Place, Interest]) -> dict[Place, Known]:
        """ImageBuild `who` wants to know of these places from now on, and of no others; returns what is known of them."""
        keys = {place: self._key(place) for place in wanted}
        self._forget(who, except_for=frozenset(keys.values()))
        self._interests[who] = frozenset(keys.values())
        for place, key in keys.items():
            known = self._known[key]
            known.hinted |= known.take(who, wanted[place], self._clock())
            known.due = min(known.due, known.looked + known.interval)  # which is longer while it cannot be seen
            self._poll_in(key, known.early(self._clock()))
        return {place: self._known[key] for place, key in keys.items()}

    def known_to(self, who: names.Key) -> dict[chains.Image, Found]:
        """What is known of the images that ImageBuild `who` is interested in."""
        mine = (self._known[key] for key in self._interests.get(who, ()))
        return {one.place.image: found for one in mine if (found := one.found_for(who))}

    def forget(self, who: names.Key) -> None:
        """ImageBuild `who` wants to know of nothing any more."""
        self._forget(who)

    def now(self, host: str, repository: str, tag: str = "") -> int:
        """Have every place of this name looked at now, whatever its interval; returns how many there are.

        A hint, as a registry's notification or a finished build gives it: a miss only delays.
        """
        keys = self._named.get((host, repository), set())
        found = [key for key in keys if tag in ("", self._known[key].place.reference.version)]
        for key in found:
            self._known[key].hinted = True
            self._poll_in(key, 0.0)
        return len(found)

    async def poll(self, key: names.Key) -> float | None:
        """Look at one place: the work of the poller's queue. Returns seconds until the next look, None for never."""
        known = self._known.get(key)
        if known is None or not known.interests:
            self._drop(key)
            return None
        if early := known.early(self._clock()):
            return early
        sources = [source for source in known.place.sources if not self._hosts.wait(source.host)]
        if not sources:
            return self._held(known)
        if wait := self._turn(known, sources[0]):
            return wait
        return await self._look(known, sources)

    def _turn(self, known: Known, source: Source) -> float:
        """Seconds until its turn at the host that is asked first."""
        if not known.its_turn and (wait := self._paces.turn(source.host)):
            known.its_turn = True
            return wait
        known.its_turn = False
        return 0.0

    def _held(self, known: Known) -> float:
        """Every host wants to be left alone, perhaps because of what other places have met there."""
        at = [source.host for source in known.place.sources]
        why = next(filter(None, map(self._hosts.reason, at)), "")
        if why and known.failures >= _PATIENCE:
            self._say(known, Problem("RegistryUnavailable", why))
        known.failures += 1
        return min(map(self._hosts.wait, at)) + random.random()  # noqa: S311  jitter

    def close(self) -> None:
        """Ends connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._clients.close()

    async def _look(self, known: Known, sources: list[Source]) -> float:
        failure: errors.BuildError | None = None
        began = self._clock()
        for source in sources:
            if self._clock() - began > _LONGEST:
                break  # dozens of slow mirrors: they are left alone in the next look
            if not self._paces.enter(source.host):
                known.its_turn = True
                return self._paces.turn(source.host) + PACE
            known.looked = self._clock()
            known.owed = known.owed or known.hinted
            known.hinted = False  # a hint that comes from here on may be of what this look is too early for
            try:
                found, quota = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._ask, source, known.place, known.found
                )
            except errors.BuildError as e:
                failure = e
                self._failed(source, e)
            else:
                self._answered(source, quota)
                self._found(known, found)
                return self._next(known)
            finally:
                self._paces.leave(source.host)
        if failure is not None:
            self._unseen(known, failure)
        return self._next(known)

    def _ask(self, source: Source, place: Place, found: Found | None) -> tuple[Found, heads.Quota | None]:
        return look(self._clients.of(source), source, place, found)

    def _answered(self, source: Source, quota: heads.Quota | None) -> None:
        self._hosts.answered(source.host)
        if quota is not None and quota.remaining <= quota.limit * _RESERVE:
            self._hosts.spare(source.host, (quota.window or baseknown.LONGEST) / 4)

    def _failed(self, source: Source, failure: errors.BuildError) -> None:
        if isinstance(failure, registry_errors.Unavailable):
            wait = self._hosts.failed(source.host, _of_host(source.host, failure), retry_after=failure.retry_after)
            log.info("%s is not asked for %.0f s: %s", source.host, wait, failure.message)

    def _found(self, known: Known, found: Found) -> None:
        before, told, trusted = known.found, known.problem, known.trusted()
        known.found, known.problem, known.failures, known.checked = found, None, 0, self._clock()
        known.owed = False
        news = before is None or (before.digest, before.others) != (found.digest, found.others)
        self._tell(
            who
            for who, interest in known.interests.items()
            if told or ((news or who in trusted) and any(map(found.moved, interest.recorded)))
        )

    def _unseen(self, known: Known, failure: errors.BuildError) -> None:
        known.failures += 1
        known.owed = known.owed and failure.retryable
        if not failure.retryable or known.failures > _PATIENCE:
            self._say(known, baseknown.problem(failure))

    def _say(self, known: Known, problem: Problem) -> None:
        told, known.problem = known.problem, problem
        if told is None or told.reason != problem.reason or problem.denied:  # a Secret may hold something else now
            self._tell(known.interests)

    def _next(self, known: Known) -> float:
        """Seconds until the next look: each time a little less or more, so that places part that came together."""
        wait = known.interval * random.uniform(0.9, 1.1)  # noqa: S311  jitter
        known.due = self._clock() + wait
        return known.early(self._clock())

    def _key(self, place: Place) -> names.Key:
        if place not in self._places:
            self._numbers += 1
            key = names.Key("", f"{place.reference.familiar} ({self._numbers})")
            self._places[place], self._known[key] = key, Known(place)
            for name in place.names:
                self._named.setdefault(name, set()).add(key)
        return self._places[place]

    def _forget(self, who: names.Key, *, except_for: frozenset[names.Key] = frozenset()) -> None:
        for key in self._interests.pop(who, frozenset()) - except_for:
            known = self._known.get(key)
            if known is not None:
                known.interests.pop(who, None)
                known.doubted.pop(who, None)

    def _drop(self, key: names.Key) -> None:
        known = self._known.pop(key, None)
        if known is None:
            return
        self._places.pop(known.place, None)
        for name in known.place.names:
            keys = self._named.get(name, set())
            keys.discard(key)
            if not keys:
                self._named.pop(name, None)


def _of_host(host: str, failure: registry_errors.Unavailable) -> str:
    """What `failure` says of the host, for all who wait for it: they may not know of the image that was asked for."""
    if failure.status:
        return f"{host} answered {failure.status}"
    return f"{host} broke off" if failure.url or failure.repository else failure.message
