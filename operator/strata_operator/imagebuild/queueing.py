"""Which builds may run at once: places, in the cluster, of each namespace and of each Registry. Pure, in memory only.

A free place goes to the namespace that has the fewest; among equals to the one whose turn was longest ago. So one with
thousands of waiting builds and one with a single build are served in turn. Within a namespace the rank decides: the
priority, then the arrival. What waits for a full Registry is stepped over, and holds up nothing else.

::

    free places ─▶ namespace with the fewest running, then the longest ago served
                     └▶ its builds by rank, of the Registries that have a place
                          └▶ a place is given at once, and its build woken to take it

After a restart the statuses tell who runs, who waits and whose turn it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from strata_operator import names
from strata_operator.imagebuild.lines import Line, Rank, Registry, Sorted, Wish

CLUSTER: Final = "Cluster"
NAMESPACE: Final = "Namespace"
REGISTRY: Final = "Registry"

#: Why builds start that no person waits for; they queue as if they had come AUTOMATIC_SECONDS later.
AUTOMATIC: Final = frozenset({"BaseImageChanged", "Scheduled"})
AUTOMATIC_SECONDS: Final = 600.0
_REMEMBERED: Final = 20_000  # namespaces whose turns are known


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a build stands that waits: its `position` in the queue of its namespace, from 1, and the reached `limit`.

    `most` is how many builds that limit allows; `waiting` counts all that wait in the cluster.
    """

    position: int
    limit: str
    most: int
    waiting: int

    @property
    def shown(self) -> int:
        """The position as a status has it: to one digit beyond ten, so that a queue that moves by one is not written anew."""
        unit = 10 ** (len(str(self.position)) - 1)
        return self.position if self.position <= 10 else -(-self.position // unit) * unit

    @property
    def look_again(self) -> float:
        """Seconds until the position is looked at again: sooner at the head, and at most 20 looks a second in all."""
        near = 30.0 if self.position <= 10 else 120.0 if self.position <= 100 else 600.0
        return max(near, self.waiting / 20)


def rank(priority: int, since: float, uid: str, reason: str) -> Rank:
    """The rank of a build that waits `since` a Unix time, started for `reason`."""
    return (-priority, since + (AUTOMATIC_SECONDS if reason in AUTOMATIC else 0.0), uid)


class Places:
    """`most` builds at once in the cluster; 0 means no limit, here and everywhere.

    `wake` is called with each build that is given a place while it does not ask. A place that is given is held until
    `leave`. Belongs to one event loop; no method waits. Each takes a time that grows with the logarithm of what waits.
    """

    def __init__(self, most: int, *, wake: Callable[[names.Key], None] = lambda _key: None) -> None:
        self.most = most
        self._wake = wake
        self._held: dict[names.Key, names.Key] = {}  # -> its Registry
        self._wishes: dict[names.Key, Wish] = {}
        self._lines: dict[str, Line] = {}
        self._registries: dict[names.Key, Registry] = {}
        self._tops: Sorted[tuple[int, int, str, names.Key]] = Sorted()  # the first turn of each Registry with a place
        self._in_namespace: Counter[str] = Counter()
        self._most_in: dict[str, int] = {}
        self._served: dict[str, int] = {}
        self._turn = 0

    def limit_namespace(self, namespace: str, most: int) -> None:
        """How many builds of `namespace` may run at once."""
        if self._most_in.get(namespace, 0) == most:
            return
        self._withdraw(namespace)
        self._most_in[namespace] = most
        self._enter(namespace)

    def limit_registry(self, registry: names.Key, most: int) -> None:
        """How many builds may write to `registry` at once."""
        self._registry(registry).most = most
        self._rank_registry(registry)

    def restore(
        self, holding: Iterable[tuple[names.Key, names.Key]], waiting: Iterable[Wish], turns: Iterable[str] = ()
    ) -> None:
        """As it was when the operator was here last: (key, Registry) of those that run, and those that wait.

        `turns` are namespaces in the order in which they were given places.
        """
        for namespace in turns:
            self._serve(namespace)
        for key, registry in holding:
            self.hold(key, registry)
        for wish in waiting:
            if wish.key not in self._held:
                self._wait(wish)
        self._fill()

    def claim(self, wish: Wish, *, anew: bool = False) -> Standing | None:
        """Ask for a place: None = it is held (again, if it was), else where the build stands in the queue.

        Whoever builds for another Registry by now takes the place along, if that Registry has one more. `anew`: what is held
        is that of a build before, and given back; who asks may have it again if nobody comes first.
        """
        held = self._held.get(wish.key)
        if held is not None and anew:
            self._free(wish.key)
        elif held is not None and held != wish.registry:
            if self._registry(wish.registry).full:
                self.leave(wish.key)
            else:
                self.hold(wish.key, wish.registry)
        if wish.key not in self._held:
            self._wait(wish)
        self._fill(asking=wish.key)  # limits may have been raised since the last time
        if held is not None and anew:
            self._tidy(wish.key.namespace, held)
        return None if wish.key in self._held else self._standing(wish)

    def hold(self, key: names.Key, registry: names.Key) -> None:
        """Count a build that runs whatever the limits say: from before a restart, or started by somebody else."""
        before = self._held.get(key)
        if before == registry:
            return
        self._forget(key)
        self._free(key)
        self._withdraw(key.namespace)
        self._held[key] = registry
        self._in_namespace[key.namespace] += 1
        self._enter(key.namespace)
        self._registry(registry).running += 1
        self._rank_registry(registry)
        if before is not None:
            self._fill()
            self._tidy(key.namespace, before)

    def leave(self, key: names.Key) -> None:
        """Give the place, or the place in the queue, back."""
        wish, registry = self._forget(key), self._free(key)
        self._fill()
        for known in (registry, wish.registry if wish else None):
            if known is not None:
                self._tidy(key.namespace, known)

    def _free(self, key: names.Key) -> names.Key | None:
        """Take the place of `key` back; returns the Registry that it was for."""
        registry = self._held.pop(key, None)
        if registry is not None:
            self._withdraw(key.namespace)
            self._in_namespace[key.namespace] -= 1
            self._enter(key.namespace)
            self._registries[registry].running -= 1
            self._rank_registry(registry)
        return registry

    def holds(self, key: names.Key) -> bool:
        return key in self._held

    @property
    def running(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        return len(self._wishes)

    # -- who is next --

    def _fill(self, asking: names.Key | None = None) -> None:
        """Give away what is free."""
        while self._tops.items and not (self.most and len(self._held) >= self.most):
            wish = self._first(self._tops.items[0][2])
            self._serve(wish.key.namespace)
            self.hold(wish.key, wish.registry)
            if wish.key != asking:
                self._wake(wish.key)

    def _first(self, namespace: str) -> Wish:
        """The build of `namespace` with the lowest rank whose Registry has a place."""
        of = self._lines[namespace].of
        heads = [line.items[0] for registry, line in of.items() if not self._registries[registry].full]
        return self._wishes[min(heads)[1]]

    def _serve(self, namespace: str) -> None:
        if len(self._served) >= _REMEMBERED:
            self._forget_turns()
        self._turn += 1
        self._withdraw(namespace)
        self._served[namespace] = self._turn
        self._enter(namespace)

    def _forget_turns(self) -> None:
        """The older half is served before all others from now on, as if it had never been."""
        oldest = sorted(self._served, key=lambda namespace: self._served[namespace])[: _REMEMBERED // 2]
        for namespace in oldest:
            self._withdraw(namespace)
            del self._served[namespace]
            self._enter(namespace)

    def _standing(self, wish: Wish) -> Standing:
        namespace, registry = wish.key.namespace, self._registries[wish.registry]
        position = self._lines[namespace].every.index((wish.rank, wish.key)) + 1
        limit, most = CLUSTER, self.most
        if self._is_full(namespace):
            limit, most = NAMESPACE, self._most_in[namespace]
        elif registry.full:
            limit, most = REGISTRY, registry.most
        return Standing(position, limit, most, self.waiting)

    # -- keeping order --

    def _wait(self, wish: Wish) -> None:
        if self._wishes.get(wish.key) == wish:
            return
        before = self._forget(wish.key)
        self._withdraw(wish.key.namespace)
        self._registry(wish.registry).waiting += 1
        self._wishes[wish.key] = wish
        self._lines.setdefault(wish.key.namespace, Line()).add(wish)
        self._enter(wish.key.namespace)
        if before:
            self._tidy(wish.key.namespace, before.registry)

    def _forget(self, key: names.Key) -> Wish | None:
        wish = self._wishes.pop(key, None)
        if wish is None:
            return None
        self._withdraw(key.namespace)
        self._lines[key.namespace].remove(wish)
        self._registries[wish.registry].waiting -= 1
        self._rank_registry(wish.registry)
        self._enter(key.namespace)
        return wish

    def _withdraw(self, namespace: str) -> None:
        """Take a namespace out of the registries' lines, before something changes that its turn depends on."""
        line = self._lines.get(namespace)
        if line is None or line.turn is None:
            return
        turn, line.turn = line.turn, None
        for registry in line.of:
            self._registries[registry].turns.remove(turn)
            self._rank_registry(registry)

    def _enter(self, namespace: str) -> None:
        """Put it back, if it waits for anything and is below its limit."""
        line = self._lines.get(namespace)
        if line is None or not line.of or self._is_full(namespace):
            return
        line.turn = (self._in_namespace[namespace], self._served.get(namespace, 0), namespace)
        for registry in line.of:
            self._registries[registry].turns.add(line.turn)
            self._rank_registry(registry)

    def _rank_registry(self, key: names.Key) -> None:
        """Bring the first turn of a Registry up to date."""
        registry = self._registries[key]
        top = (*registry.turns.items[0], key) if registry.turns.items and not registry.full else None
        if top == registry.top:
            return
        if registry.top:
            self._tops.remove(registry.top)
        if top:
            self._tops.add(top)
        registry.top = top

    def _registry(self, key: names.Key) -> Registry:
        return self._registries.setdefault(key, Registry())

    def _is_full(self, namespace: str) -> bool:
        most = self._most_in.get(namespace, 0)
        return bool(most) and self._in_namespace[namespace] >= most

    def _tidy(self, namespace: str, registry: names.Key) -> None:
        """Forget whom nobody waits for or runs in: limits come again with the next claim."""
        if (line := self._lines.get(namespace)) and not line.of:
            del self._lines[namespace]
        if not self._in_namespace[namespace] and namespace not in self._lines:
            del self._in_namespace[namespace]
            self._most_in.pop(namespace, None)
        if (found := self._registries.get(registry)) and not found.running and not found.waiting:
            del self._registries[registry]
