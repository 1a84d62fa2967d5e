"""What people are told in Events: one a transition of the status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import state, status

_LONGEST: Final = 1000  # bytes of a note
_LONGEST_REF: Final = 300  # bytes
_LONGEST_CAUSE: Final = 250  # bytes; beside the longest names and a ref the beginning of the message has room
_SHORT: Final = 12  # characters of a commit


@dataclass(frozen=True, slots=True)
class Event:
    reason: str
    note: str
    warning: bool = False


def transition(before: Mapping[str, Any], after: Mapping[str, Any], key: names.Key) -> Event | None:
    """The event for the step of `key` from one status to the next, if it is one that people care for: ends, and what keeps
    a build from going on. A step of a build says what had started that; of an attempt that failed it ends with the command
    that prints its log."""
    said = spoken(after)
    if said is None or _mark(before) == _mark(after) or _goes_on(before, after, said):
        return None
    bad = conditions.is_true([said], conditions.STALLED) or said.get("status") == conditions.FALSE
    bad = bad and said.get("reason") not in contract.ENDED  # somebody wanted it so
    end = _trigger(before, after) + _where_to_read(after, key)
    note = _cut(str(said.get("message") or ""), _LONGEST - len(end.encode("utf-8", "replace")))
    return Event(str(said["reason"]), note + end, warning=bad)


def _goes_on(before: Mapping[str, Any], after: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether all is well: an attempt starts or runs. The status says so, and since when; its end will be told."""
    was, current = before.get("current") or {}, after.get("current") or {}
    if current.get("phase") not in state.ACTIVE or said.get("reason") != "Building":
        return False
    same = [was.get(name) == current.get(name) for name in ("number", "attempt")]
    replaced = all(same) and was.get("isolation") not in (None, "", current.get("isolation"))
    return not replaced  # what takes the place of another pod says why


def _cut(note: str, room: int) -> str:
    """The API server counts bytes."""
    data = note.encode("utf-8", "replace")
    return note if len(data) <= room else data[: room - 3].decode("utf-8", "ignore") + "…"


def _trigger(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Not where all that happened is no step of the build: a spec that is refused leaves the last one as it was."""
    was, current = before.get("current") or {}, after.get("current") or {}
    if not current.get("reason") or all(was.get(name) == current.get(name) for name in ("number", "attempt", "phase")):
        return ""
    commit = f", commit {str(current.get('commit'))[:_SHORT]}" if current.get("commit") else ""
    ref = f" of {_cut(str(current.get('ref')), _LONGEST_REF)}" if commit and current.get("ref") else ""
    moved = state.read(after).current
    bases = f", {_cut(moved.cause, _LONGEST_CAUSE)}" if moved and moved.cause else ""
    return f"\ntrigger: {current['reason']}{commit}{ref}{bases}"


def _where_to_read(found: Mapping[str, Any], key: names.Key) -> str:
    current = found.get("current") or {}
    if current.get("phase") not in (state.FAILED, state.RETRYING) or not current.get("job"):
        return ""
    which = f"--build {current.get('number')} --attempt {current.get('attempt')}"
    return f"\nlog: strata logs {key.name} -n {key.namespace} {which}"


def _mark(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a moment another one: the build, its attempt, how far it is, and why."""
    current, said = found.get("current") or {}, spoken(found) or {}
    where = current.get("number"), current.get("attempt"), current.get("isolation")
    return *where, current.get("checks"), said.get("type"), said.get("status"), said.get("reason")


def spoken(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The condition that says what happens now."""
    kinds = (status.SUSPENDED, status.BUILDING, conditions.STALLED, status.LAST, conditions.READY)
    present = (conditions.find(found.get("conditions"), kind) for kind in kinds)
    return next((c for c in present if c is not None and not _old_news(c, found)), None)


def _old_news(condition: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """LastBuildSucceeded=True says less than Ready."""
    return bool(condition.get("type") == status.LAST and condition.get("status") == conditions.TRUE and found)
