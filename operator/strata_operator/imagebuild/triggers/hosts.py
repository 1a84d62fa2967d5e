"""Manners towards hosts that are asked regularly: few requests at once, and fewer and fewer while they fail.

What counts is the host, not what is asked of it: one that is down or overloaded is left alone by everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

FIRST: Final = 5.0  # seconds that a host is left alone after its first failure; doubled with each further one
LONGEST: Final = 600.0
LONGEST_ASKED: Final = 3600.0  # the longest that a host's own Retry-After is taken at its word
_FORGOTTEN: Final = 10_000  # hosts; those that are well are forgotten first


@dataclass(slots=True)
class _Host:
    turns: asyncio.Semaphore
    failures: int = 0
    until: float = 0.0  # not asked before
    reason: str = ""
    users: int = field(default=0)


class Hosts:
    """Belongs to one event loop. `clock` gives seconds; `per_host` and `overall` are the most requests at once."""

    def __init__(self, clock: Callable[[], float], *, per_host: int, overall: int) -> None:
        self._clock = clock
        self._per_host = per_host
        self._overall = asyncio.Semaphore(overall)
        self._hosts: dict[str, _Host] = {}

    def wait(self, host: str) -> float:
        """Seconds for which `host` is to be left alone; 0 if it may be asked now."""
        found = self._hosts.get(host)
        return max(found.until - self._clock(), 0.0) if found else 0.0

    def full(self, host: str) -> bool:
        """Whether one more request to `host` would have to wait for its turn."""
        found = self._hosts.get(host)
        return (found is not None and found.turns.locked()) or self._overall.locked()

    def reason(self, host: str) -> str:
        """What `host` failed with last, empty if it did not."""
        found = self._hosts.get(host)
        return found.reason if found else ""

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Waits until there is room for one more request to `host`. Look at `wait` again then: others may have failed."""
        found = self._host(host)
        found.users += 1
        try:
            async with found.turns, self._overall:
                yield
        finally:
            found.users -= 1

    def answered(self, host: str) -> None:
        """`host` is well, whatever it said of what it was asked for. While it is left alone, that is an answer to what it was
        asked before."""
        found = self._hosts.get(host)
        if found and found.until <= self._clock():
            found.failures, found.until, found.reason = 0, 0.0, ""

    def failed(self, host: str, reason: str, *, retry_after: float | None = None) -> float:
        """`host` gave no answer, or said to be left alone for `retry_after` seconds; returns those that it will be.

        Requests that were under way together and fail together are one failure.
        """
        found, now = self._host(host), self._clock()
        if found.until <= now:
            found.failures += 1
        delay = min(FIRST * 2.0 ** min(found.failures - 1, 30), LONGEST)
        if retry_after is not None:
            delay = max(delay, min(retry_after, LONGEST_ASKED))
        found.until, found.reason = max(found.until, now + delay), reason
        return found.until - now

    def spare(self, host: str, seconds: float) -> None:
        """Leave `host`, which is well, alone for so long."""
        found = self._host(host)
        found.until = max(found.until, self._clock() + min(seconds, LONGEST_ASKED))

    def _host(self, host: str) -> _Host:
        if host not in self._hosts:
            if len(self._hosts) >= _FORGOTTEN:
                self._hosts = {name: h for name, h in self._hosts.items() if h.users or h.until > self._clock()}
            self._hosts[host] = _Host(asyncio.Semaphore(self._per_host))
        return self._hosts[host]


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds of an HTTP Retry-After (RFC 9110 §10.2.3): a number of them, or a date. None if there is none to be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(moment.timestamp() - now, 0.0)
