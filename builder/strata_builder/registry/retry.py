"""When to try again, and after how long: exponential back-off with jitter, Retry-After where the registry says so."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from strata_builder import errors as build_errors
from strata_builder.frozen import frozen
from strata_builder.registry import errors

T = TypeVar("T")


@frozen
class Policy:
    """`attempts` in all; waits of `base` * 2^n seconds up to `cap`, halved at most by jitter; a Retry-After counts up
    to `longest`."""

    attempts: int = 6
    base: float = 0.5
    cap: float = 20.0
    longest: float = 120.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def delay(self, tried: int, retry_after: float | None = None) -> float:
        """Seconds to wait after `tried` failures."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.longest)
        return min(self.base * float(2 ** (tried - 1)), self.cap) * (0.5 + self.jitter() / 2)

    def wait(self, tried: int, failure: build_errors.BuildError) -> None:
        """Waits before the next try, or raises `failure` if there is none left or it would fail the same way again."""
        if tried >= self.attempts or not failure.retryable or isinstance(failure, errors.ReadOnly):
            raise failure
        self.sleep(self.delay(tried, getattr(failure, "retry_after", None)))

    def run(self, call: Callable[[], T]) -> T:
        """`call()`, again while it raises Unavailable."""
        tried = 0
        while True:
            try:
                return call()
            except errors.Unavailable as e:
                tried += 1
                self.wait(tried, e)


def parse_retry_after(value: str, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date), None if there is none that can be read."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError, OverflowError):
        return None
