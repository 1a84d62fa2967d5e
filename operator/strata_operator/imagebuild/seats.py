"""The places of queueing.py, given to the ImageBuilds of a cluster: who holds one, who waits, whose limits count."""

from __future__ import annotations

from collections.abc import Iterator

from strata_operator import controller, kube, names
from strata_operator.imagebuild import destinations, limits, lines, observe, queueing, state
from strata_operator.imagebuild.case import Decision, Observed


class Seats:
    """Belongs to one operator. `kind` is the queue of those that are woken when a place is theirs."""

    def __init__(self, frame: controller.Frame, kind: str) -> None:
        self._frame = frame
        self._places = queueing.Places(frame.settings.max_builds, wake=lambda key: frame.enqueue(kind, key))
        self._ending: set[names.Key] = set()  # have a place only until their pods have ended

    def restore(self) -> None:
        """When the cache is whole for the first time: who runs and who waits, as the statuses and the pods tell."""
        builds = self._frame.cache[names.IMAGEBUILDS]
        active, waiting = builds.having(observe.ACTIVE, True), builds.having(observe.QUEUED, True)
        running = [body for body in active if observe.is_active(self._frame, body)]
        for body in (*running, *waiting):
            self._limit(kube.place(body).namespace, destinations.registry_of(body))
        held = {key: names.Key("", "") for key in observe.busy(self._frame)}
        held |= {kube.place(body): destinations.registry_of(body) for body in running}
        self._places.restore(held.items(), _wishes(waiting), observe.turns(self._frame))

    async def claim(self, seen: Observed, rank: lines.Rank) -> queueing.Standing | None:
        """A place for the current build of `seen`: None = it has one."""
        registry = destinations.registry_of(seen.body)
        self._limit(seen.key.namespace, registry)
        anew = seen.key in self._ending and not observe.lingers(self._frame, seen.key)
        if anew:
            self._ending.discard(seen.key)
        return self._places.claim(lines.Wish(seen.key, registry, rank), anew=anew)

    def settle(self, seen: Observed, decision: Decision) -> None:
        """What a look that was applied means: a build that runs has its place, one that does neither run nor wait none. One
        that takes over from one that it ends has that one's, whose pod may not have been there yet; one that follows another
        which had ended before this look, as before a restart, has none."""
        if decision.active:
            self._ending.discard(seen.key)
            self._places.hold(seen.key, destinations.registry_of(seen.body))
        elif decision.queued:
            self._ending.discard(seen.key)
        elif decision.follows:
            if _phase(seen.body.get("status")) not in (None, state.PENDING, *state.ACTIVE):
                self._ending.add(seen.key)
        else:
            if _has_ended(seen, decision):
                self._ending.add(seen.key)
            self.leave(seen.key)

    def leave(self, key: names.Key) -> None:
        """Give back the place of `key`, unless a pod of its may still run: the pod's end comes here again."""
        if not (self._places.holds(key) and observe.lingers(self._frame, key)):
            self._ending.discard(key)
            self._places.leave(key)
        self.measure()

    def measure(self) -> None:
        self._frame.metrics.builds.labels("queued").set(self._places.waiting)
        self._frame.metrics.builds.labels("running").set(self._places.running)

    def _limit(self, namespace: str, registry: names.Key) -> None:
        found = self._frame.cache[names.NAMESPACES].get("", namespace)
        default = self._frame.settings.max_builds_per_namespace
        self._places.limit_namespace(namespace, limits.of_namespace(found, default))
        self._places.limit_registry(registry, limits.of_registry(self._frame.cache[names.REGISTRIES].get(*registry)))


def _has_ended(seen: Observed, decision: Decision) -> bool:
    """Whether the current build, or its last attempt, has ended; one that waits to begin may have taken a place over."""
    return _phase(decision.status or seen.body.get("status")) not in (None, state.PENDING)


def _phase(status: kube.Object | None) -> str | None:
    phase: str | None = ((status or {}).get("current") or {}).get("phase")
    return phase


def _wishes(waiting: list[kube.Object]) -> Iterator[lines.Wish]:
    for body in waiting:
        if current := state.read(body["status"]).current:
            yield lines.Wish(kube.place(body), destinations.registry_of(body), _rank(body, current))


def _rank(body: kube.Object, current: state.Current) -> lines.Rank:
    """The rank of an ImageBuild's current build that waits."""
    meta, priority = body["metadata"], int((body.get("spec") or {}).get("priority") or 0)
    return queueing.rank(priority, current.queued_time or 0.0, str(meta.get("uid") or ""), current.reason)
