"""How often somebody may do something: buckets that fill at a rate. Pure; the clock comes in."""

from __future__ import annotations

import collections
from collections.abc import Hashable
from typing import Final

_MOST: Final = 10_000


class Buckets:
    """One bucket a key, `burst` deep, filled at `rate` a second. The oldest are forgotten, full ones first."""

    def __init__(self, rate: float, burst: float, *, most: int = _MOST) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._levels: collections.OrderedDict[Hashable, tuple[float, float]] = collections.OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Take one; 0 if there was one, else the seconds until there is."""
        level, since = self._levels.pop(key, (self._burst, now))
        level = min(level + max(now - since, 0.0) * self._rate, self._burst)
        waits = 0.0 if level >= 1 else (1 - level) / self._rate
        self._levels[key] = (level - 1 if not waits else level, now)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return waits
