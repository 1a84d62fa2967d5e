"""What happens after a failure, by its class, and when. Pure.

Mistakes of people are never retried; what heals outside is looked at again for ever, ever more rarely; failures of the
infrastructure are retried as often as the spec allows, and then, where a host was away, looked at again for ever, too.
"""

from __future__ import annotations

import enum
from typing import Final

from strata_builder import contract
from strata_operator import names

FIRST_CHECK: Final = 60.0
LONGEST_CHECK: Final = 1800.0
FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 300.0
#: Failures of hosts that are away or want to be left alone, perhaps for hours: they heal outside, however often that was tried.
_AWAY: Final = frozenset({"RegistryUnavailable", "SourceUnavailable"})
_ROUNDED: Final = 1.0  # more than a time loses on its way through the status


class Class(enum.Enum):
    FINAL = "final"  # until somebody changes something
    CHECKED = "checked"  # heals outside: looked at again
    RETRIED = "retried"
    WAITING = "waiting"  # comes by itself: no failure at all


def class_of(reason: str) -> Class:
    """The class of a reason of the contract; an unknown one is no ground for trying again."""
    if reason in contract.HEALS_OUTSIDE:
        return Class.CHECKED
    if reason in contract.RETRIED:
        return Class.RETRIED
    return Class.WAITING if reason in contract.WAITING else Class.FINAL


def heals(reason: str, *, after: str = "") -> bool:
    """Whether what has failed for `reason`, and is not retried any more, is looked at again. `after` is why the attempt
    before had failed: a host that was away has used up the retries, and a node that is lost then has had none."""
    return (
        class_of(reason) is Class.CHECKED or reason in _AWAY or (after in _AWAY and class_of(reason) is Class.RETRIED)
    )


def check_delay(checks: int, uid: str) -> float:
    """Seconds until the look after `checks` looks that found it unhealed: 1, 2, 4 … 30 minutes, less its jitter."""
    return min(FIRST_CHECK * 2.0 ** min(checks, 16), LONGEST_CHECK) * _jitter(uid, checks)


def retry_delay(retries: int, uid: str) -> float:
    """Seconds until the attempt after `retries` retries: 5, 10, 20 s … 5 minutes, less its jitter."""
    return min(FIRST_RETRY * 2.0 ** min(retries, 16), LONGEST_RETRY) * _jitter(uid, retries)


def waits(next_time: float | None, now: float, delay: float) -> bool:
    """Whether the time for the next try is still to come. One that is further off than the `delay` that was waited for was
    written by a clock that has since been set back: it has come."""
    return next_time is not None and 0.0 < next_time - now <= delay + _ROUNDED


def _jitter(uid: str, count: int) -> float:
    """From 0.75 to 1, of the object and the count alone: what failed together is not tried again together."""
    return 1.0 - int(names.short_hash(uid, str(count), length=8), 16) / 2.0**34
