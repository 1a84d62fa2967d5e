"""Waiting for what can only be waited for by looking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_FIRST = 0.05  # seconds between two looks at first: much is there at once
_LATER = 0.2
_LONGEST = 1.0
_GROWTH = 1.5


def look(condition: Callable[[], Any], *, seconds: float) -> Any:
    """What `condition` returns once it is true, or its last answer if it is not within `seconds`.

    Who looks leaves three quarters of a processor to those who bring it about.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST
    while True:
        began = time.monotonic()
        found = condition()
        ended = time.monotonic()
        if found or ended >= deadline:
            return found
        time.sleep(max(pause, min(3 * (ended - began), _LONGEST)))
        pause = min(pause * _GROWTH, _LATER)
