"""How many requests and bytes went over the wire, for metrics. Safe to share between threads."""

from __future__ import annotations

import threading

from strata_builder.frozen import frozen


@frozen
class Totals:
    """Bytes are those of bodies, without headers; `requests` counts every one sent, retries and token requests too."""

    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class Counters:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()

    def add(self, *, requests: int = 0, up: int = 0, down: int = 0) -> None:
        with self._lock:
            t = self._totals
            self._totals = Totals(t.requests + requests, t.bytes_up + up, t.bytes_down + down)

    @property
    def totals(self) -> Totals:
        return self._totals
