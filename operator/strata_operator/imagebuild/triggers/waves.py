"""Whom news of a base image wakes, and when: so many a second, namespaces in turn, and in each the most urgent first.

Two thousand that were woken at once would keep all others waiting, and the first free places would be whose chance has
it. In memory only: after a restart every ImageBuild is looked at anyway.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from strata_operator import names

KIND: Final = "base-wave"
#: The only key of the queue whose work is `release`.
KEY: Final = names.Key("", "wave")
PER_SECOND: Final = 50

_Urgency = tuple[int, names.Key]


class Waves:
    """`wake` has an ImageBuild looked at, `priority` tells its spec.priority, and `begin` has `release` called."""

    def __init__(
        self,
        *,
        wake: Callable[[names.Key], None],
        priority: Callable[[names.Key], int],
        begin: Callable[[], None],
    ) -> None:
        self._wake = wake
        self._priority = priority
        self._begin = begin
        self._lines: dict[str, list[_Urgency]] = {}  # heaps, the namespace first whose turn it is
        self._held: set[names.Key] = set()

    def add(self, woken: Iterable[names.Key]) -> None:
        """Wake these in their turn."""
        idle = not self._held
        for who in sorted(set(woken) - self._held):
            heapq.heappush(self._lines.setdefault(who.namespace, []), self._urgency(who))
            self._held.add(who)
        if idle and self._held:
            self._begin()

    def holds(self, who: names.Key) -> bool:
        """Whether `who` is still to be woken."""
        return who in self._held

    def turn(self, who: names.Key) -> bool:
        """Whether nobody more urgent of its namespace is still to be woken; else `who` is woken after that one."""
        line = self._lines.get(who.namespace)
        if not line or (who not in self._held and self._urgency(who)[0] <= line[0][0]):
            return True
        self.add([who])
        return False

    async def release(self, _key: names.Key) -> float | None:
        """Wake one: the work of a queue. Returns seconds until the next one, None if nobody is left."""
        if not self._held:
            return None
        namespace = next(iter(self._lines))
        line = self._lines.pop(namespace)
        _, who = heapq.heappop(line)
        if line:
            self._lines[namespace] = line
        self._held.discard(who)
        self._wake(who)
        return 1 / PER_SECOND if self._held else None

    def _urgency(self, who: names.Key) -> _Urgency:
        return -self._priority(who), who
