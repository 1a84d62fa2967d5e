"""The lines that queueing keeps: of the builds that wait in a namespace, and of the namespaces that wait for a Registry.

Pure, in memory only; each knows where it stands in the one above it, so that nothing is searched for.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from strata_operator import names

T = TypeVar("T", bound=tuple[Any, ...])
#: (-priority, Unix time since when it waits, uid): the lower, the sooner.
Rank = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """A build that wants a place."""

    key: names.Key
    registry: names.Key
    rank: Rank


class Sorted(Generic[T]):
    """Distinct items in order. Finding is a bisection; what an insertion moves is memory: microseconds at 10,000."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[T] = []

    def add(self, item: T) -> None:
        bisect.insort(self.items, item)

    def remove(self, item: T) -> None:
        del self.items[self.index(item)]

    def index(self, item: T) -> int:
        return bisect.bisect_left(self.items, item)


class Line:
    """The builds of one namespace that wait: all of them, and apart for each Registry."""

    __slots__ = ("every", "of", "turn")

    def __init__(self) -> None:
        self.every: Sorted[tuple[Rank, names.Key]] = Sorted()
        self.of: dict[names.Key, Sorted[tuple[Rank, names.Key]]] = {}
        self.turn: tuple[int, int, str] | None = (
            None  # as it stands in the registries' lines; None = it is at its limit
        )

    def add(self, wish: Wish) -> None:
        self.every.add((wish.rank, wish.key))
        self.of.setdefault(wish.registry, Sorted()).add((wish.rank, wish.key))

    def remove(self, wish: Wish) -> None:
        self.every.remove((wish.rank, wish.key))
        self.of[wish.registry].remove((wish.rank, wish.key))
        if not self.of[wish.registry].items:
            del self.of[wish.registry]


class Registry:
    """The namespaces that wait for one Registry and may have a place, in the order of their turns."""

    __slots__ = ("most", "running", "top", "turns", "waiting")

    def __init__(self) -> None:
        self.most = 0
        self.running = 0
        self.waiting = 0  # also of namespaces at their limit
        self.turns: Sorted[tuple[int, int, str]] = Sorted()
        self.top: tuple[int, int, str, names.Key] | None = None  # as it stands among the tops

    @property
    def full(self) -> bool:
        return bool(self.most) and self.running >= self.most
