"""The lanes of a queue: who goes before whom, and that nobody waits for ever. Pure."""

from __future__ import annotations

import enum
from typing import Final

from strata_operator import names


class Lane(enum.IntEnum):
    """The lower, the sooner."""

    RUNNING = 0  # it has a pod: what is to be said of that is short, and people wait for it
    OPEN = 1  # something is to be done, or may be
    SETTLED = 2  # nothing is to be expected


#: Of so many keys that are taken one is of that lane all the same: under steady load it must not be forgotten.
_TURNS: Final = ((16, Lane.SETTLED), (4, Lane.OPEN))


class Lanes:
    """Keys that wait, each once, in the order of their arrival within a lane; with each the time since when."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[names.Key, float]] = {lane: {} for lane in Lane}
        self._taken = 0

    def put(self, key: names.Key, lane: Lane, since: float) -> None:
        """A key that waits already does so from then on, and at the end of the better one of the two lanes."""
        known = next((one for one in Lane if key in self._lanes[one]), None)
        if known is None or lane < known:
            since = self._lanes[known].pop(key) if known is not None else since
            self._lanes[lane][key] = since

    def take(self) -> tuple[names.Key, Lane, float]:
        """Who is next. Raises ValueError if nobody waits."""
        self._taken += 1
        turn = (lane for every, lane in _TURNS if self._taken % every == 0)
        for lane in (*turn, *Lane):
            if waiting := self._lanes[lane]:
                key = next(iter(waiting))
                return key, lane, waiting.pop(key)
        raise ValueError("nobody waits")

    def __contains__(self, key: names.Key) -> bool:
        return any(key in waiting for waiting in self._lanes.values())

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))
