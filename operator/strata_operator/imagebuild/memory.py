"""Answers that may be used again for a while. A cache only: an operator without it asks once more."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any, Final

_LARGEST: Final = 20_000


class Memory:
    """Values by key, with the time at which they were learnt (of `clock`, in seconds)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Hashable, tuple[float, Any]] = {}

    def now(self) -> float:
        return self._clock()

    def recall(self, key: Hashable, max_age: float) -> Any | None:
        """What was learnt at most `max_age` seconds ago, else None; nor what a clock says to come that was set back."""
        found = self._known.get(key)
        return found[1] if found and 0.0 <= self._clock() - found[0] <= max_age else None

    def expect(self, key: Hashable, value: Any, max_age: float) -> Any | None:
        """As `recall`; of what was never learnt, `value` counts as learnt at some moment of the last `max_age` seconds.

        So an operator that has just started asks about ten thousand things one after another, not all at once.
        """
        if key not in self._known:
            self._learn(key, value, self._clock() - random.random() * max_age)  # noqa: S311  jitter
        return self.recall(key, max_age)

    def learn(self, key: Hashable, value: Any) -> None:
        self._learn(key, value, self._clock())

    def _learn(self, key: Hashable, value: Any, when: float) -> None:
        if len(self._known) >= _LARGEST:
            self._known = dict(sorted(self._known.items(), key=lambda item: item[1][0])[_LARGEST // 2 :])
        self._known[key] = (when, value)
