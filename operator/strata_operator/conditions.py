"""Conditions as in metav1.Condition, read the way kstatus reads them. Pure.

Ready is always there. Reconciling and Stalled exist only while they are True: kstatus takes their presence as meaning.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"
READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
MESSAGE_LIMIT: Final = 2048  # the API allows 32768; a status must stay readable


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as wanted now; `reason` is CamelCase from a closed list, `message` is for people."""

    type: str
    status: str
    reason: str
    message: str = ""


def ready(reason: str, message: str) -> list[Condition]:
    """All is as the spec says."""
    return [Condition(READY, TRUE, reason, message)]


def reconciling(reason: str, message: str, *, status: str = UNKNOWN) -> list[Condition]:
    """Work goes on, or something is waited for that comes by itself."""
    return [Condition(READY, status, reason, message), Condition(RECONCILING, TRUE, reason, message)]


def stalled(reason: str, message: str) -> list[Condition]:
    """Somebody must change something."""
    return [Condition(READY, FALSE, reason, message), Condition(STALLED, TRUE, reason, message)]


def merge(
    previous: Sequence[Mapping[str, Any]], wanted: Iterable[Condition], *, generation: int, now: float
) -> list[dict[str, Any]]:
    """`wanted` as a status' list, replacing `previous` whole; lastTransitionTime moves only when a status flips."""
    old = {condition.get("type"): condition for condition in previous}
    return [_render(condition, old.get(condition.type), generation, now) for condition in wanted]


def _render(condition: Condition, previous: Mapping[str, Any] | None, generation: int, now: float) -> dict[str, Any]:
    kept = previous if previous and previous.get("status") == condition.status else {}
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "lastTransitionTime": kept.get("lastTransitionTime") or rfc3339(now),
    }


def find(conditions: Sequence[Mapping[str, Any]] | None, kind: str) -> Mapping[str, Any] | None:
    """The condition of type `kind`, if it is there."""
    return next((c for c in conditions or () if c.get("type") == kind), None)


def is_true(conditions: Sequence[Mapping[str, Any]] | None, kind: str, *, generation: int | None = None) -> bool:
    """Whether `kind` is True (and said of this `generation`, if one is given)."""
    found = find(conditions, kind)
    if found is None or found.get("status") != TRUE:
        return False
    return generation is None or found.get("observedGeneration") == generation


def rfc3339(seconds: float) -> str:
    """Unix time as the API server writes times, in whole seconds."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix(text: str) -> float:
    """The Unix time of an RFC 3339 text of the API server. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()
