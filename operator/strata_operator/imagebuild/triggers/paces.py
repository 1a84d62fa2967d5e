"""The pace at which one host is asked: turn after turn, and few requests at once. No I/O; belongs to one event loop.

`hosts.Hosts` knows which hosts are to be left alone. This is for a queue of polls, whose workers must not wait for a
host: whoever has no turn yet comes again when it has one. Ten thousand polls that are due at once, as after a restart,
are so spread without one of them being tried in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

AT_ONCE: Final = 4  # requests to one host
PACE: Final = 0.1  # seconds between two turns at one host
_LARGEST: Final = 10_000  # hosts remembered


@dataclass(slots=True)
class _Host:
    turn: float = 0.0  # when the next one may come
    running: int = 0


class Paces:
    """`clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def turn(self, host: str) -> float:
        """Take the next turn at `host`; returns in how many seconds that is."""
        found, now = self._of(host), self._clock()
        mine = max(found.turn, now)
        found.turn = mine + PACE
        return mine - now

    def enter(self, host: str) -> bool:
        """Begin a request, ended by `leave`; False if as many run as may."""
        found = self._of(host)
        if found.running >= AT_ONCE:
            return False
        found.running += 1
        return True

    def leave(self, host: str) -> None:
        """A request has ended."""
        self._of(host).running -= 1

    def _of(self, host: str) -> _Host:
        if host not in self._hosts and len(self._hosts) >= _LARGEST:
            now = self._clock()
            self._hosts = {name: h for name, h in self._hosts.items() if h.running or h.turn > now}
        return self._hosts.setdefault(host, _Host())
