"""How a kind plugs into the operator: what it watches, whom an event wakes, and how it reconciles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from strata_operator import cache, certificates, kube, metrics, names, queue, settings
from strata_operator.lanes import Lane
from strata_operator.notifications import hub

#: (kind of queue, key) pairs to look at because of an object.
Wakes = Callable[[kube.Object], Iterable[tuple[str, names.Key]]]


@dataclass(frozen=True, slots=True)
class Watch:
    """A resource that a kind wants to know of. All kinds that watch one resource must give the same selector."""

    resource: names.Resource
    wakes: Wakes
    selector: str = ""  # label selector, `key=value` terms
    trim: cache.Trim = cache.trim
    packed: bool = False  # there may be thousands
    indexes: Mapping[str, cache.Index] = field(default_factory=dict)
    again: int = 1  # an object is looked at in each so manieth resync although it has not changed; 0 = in none


@dataclass(frozen=True, slots=True)
class Controller:
    """One queue with its workers. `kind` is its name, in metrics too."""

    kind: str
    reconcile: queue.Reconcile
    watches: tuple[Watch, ...] = ()
    workers: int | None = None  # None = as the settings say
    start: tuple[names.Key, ...] = ()  # keys to look at when the operator starts
    close: Callable[[], None] | None = None  # when it ends
    lane: Callable[[names.Key], Lane] = lambda _key: Lane.OPEN  # of its queue: who goes first


@dataclass(slots=True)
class Hints:
    """What somebody outside tells of, to be looked at soon; the kinds that know how put their functions here.

    `source` takes an ImageBuild whose git source may have moved; `base` takes the host, repository and tag of an image,
    and says how many ImageBuilds look at it; `deaf` takes an ImageBuild whose deliveries cannot be checked. Losing a hint
    only delays.
    """

    source: Callable[[kube.Object], None] = lambda _build: None
    base: Callable[[str, str, str], int] = lambda _host, _repository, _tag: 0
    deaf: Callable[[kube.Object], None] = lambda _build: None


class Frame:
    """What every controller is given. Its parts are whole only once the operator runs.

    `authorities` (PEM) are the chart's, which the operator trusts beside the system's. Raises ValueError or OSError for
    a file of them that cannot be used.
    """

    def __init__(self, options: settings.Settings, counters: metrics.Metrics, client: kube.Kube) -> None:
        self.settings = options
        self.authorities = certificates.read(options.ca_bundle_file)
        self.metrics = counters
        self.notifications = hub.Hub(options, counters, self.authorities)
        self.kube = client
        self.cache = cache.Cache(self._notice)
        self.hints = Hints()
        self.queues: dict[str, queue.Queue] = {}
        self.closers: list[Callable[[], Awaitable[None]]] = []  # called when the operator ends
        self._watches: dict[names.Resource, list[Watch]] = {}
        self._turn = 0
        self._starts: list[tuple[str, names.Key]] = []
        self._closes: list[Callable[[], None]] = []
        client.written, client.deleted = self.cache.wrote, self.cache.deleted

    def add(self, controller: Controller) -> None:
        """Make the queue and the stores of `controller`. Raises ValueError for two selectors of one resource."""
        workers = controller.workers or self.settings.workers
        self.queues[controller.kind] = queue.Queue(
            controller.kind, controller.reconcile, self.metrics, workers=workers, lane=controller.lane
        )
        self._starts += [(controller.kind, key) for key in controller.start]
        self._closes += [controller.close] if controller.close else []
        for watch in controller.watches:
            store = self.cache.stores.get(watch.resource)
            if store is None:
                self.cache.add(cache.Store(watch.resource, selector=watch.selector, trim=watch.trim))
            elif store.selector != watch.selector:
                raise ValueError(f"{watch.resource.plural} is watched with {store.selector!r} and {watch.selector!r}")
            elif store.trim is cache.trim:
                store.trim = watch.trim
            self._prepare(self.cache[watch.resource], watch)

    def _prepare(self, store: cache.Store, watch: Watch) -> None:
        store.packed |= watch.packed
        store.add_indexes(watch.indexes)
        self._watches.setdefault(watch.resource, []).append(watch)

    def begin(self) -> None:
        """Enqueue what each controller wants to look at first."""
        for kind, key in self._starts:
            self.queues[kind].add(key)

    def close(self) -> None:
        """Have each controller end what it has begun."""
        for close in self._closes:
            close()

    def enqueue(self, kind: str, key: names.Key, delay: float = 0.0) -> None:
        """Have `key` reconciled, in `delay` seconds at the latest."""
        self.queues[kind].add_after(key, delay)

    def look_again(self) -> None:
        """After a resync: wake some of what has not changed, so that nothing stays as it is because of one lost look."""
        for resource, watches in self._watches.items():
            for watch in watches:
                if watch.again:
                    for body in self.cache[resource].slice(self._turn, watch.again):
                        self._wake(watch, body)
        self._turn += 1

    def _notice(self, resource: names.Resource, body: kube.Object) -> None:
        for watch in self._watches.get(resource, ()):
            self._wake(watch, body)

    def _wake(self, watch: Watch, body: kube.Object) -> None:
        for kind, key in watch.wakes(body):
            self.queues[kind].add(key)


def itself(kind: str) -> Wakes:
    """Wakes the object's own key."""
    return lambda body: [(kind, kube.place(body))]


def owner(kind: str, resource: names.Resource) -> Wakes:
    """Wakes the controlling owner of an object, if it is a `resource`."""

    def wakes(body: kube.Object) -> list[tuple[str, names.Key]]:
        return [
            (kind, names.Key(body["metadata"].get("namespace", ""), reference["name"]))
            for reference in body["metadata"].get("ownerReferences") or ()
            if reference.get("kind") == resource.kind and reference.get("apiVersion") == resource.api_version
        ]

    return wakes
