"""Which transition a status says has happened, as a value that is the same whenever the same status is read. Pure.

So a notice that may have been lost with a process is made again by the next one, with the same id.

============ ========================================================================
queued       as many builds run as may: it has a place in the queue
waiting      for something else that comes by itself; `reason` says for what
started      an attempt has its Job
retrying     the infrastructure failed; another attempt follows
succeeded    the image is in the registry, under its tags
unchanged    nothing to do: the image is what the spec asks for
failed       for good, or until something outside heals
cancelled    somebody ended it
superseded   a running build was ended, for another one is wanted now
suspended    nothing is begun until spec.suspend is false again
============ ========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions, kube
from strata_operator.imagebuild import events, state, status
from strata_operator.notifications import notices

#: Transitions whose reason makes another one of them.
_TOLD_APART_BY_REASON: Final = frozenset({"waiting", "retrying", "failed"})
#: Transitions of a generation rather than of an attempt.
_OF_A_GENERATION: Final = frozenset({"unchanged", "suspended"})
_ENDS: Final = frozenset({"succeeded", "failed", "cancelled"})
_PHASES: Final = {
    state.STARTING: "started",
    state.RUNNING: "started",
    state.RETRYING: "retrying",
    state.FAILED: "failed",
    state.SUCCEEDED: "succeeded",
}


def between(body: kube.Object, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[notices.Notice]:
    """What the step from one status of an ImageBuild to the next has to tell, in order."""
    yield from _superseded(body, before, after)
    notice, earlier = of(body, after), of(body, before)
    if notice is None or (earlier is not None and earlier.id == notice.id):
        return
    completed = str((before.get("current") or {}).get("completionTime") or "")
    if notice.transition in _ENDS and notice.time and notice.time == completed:
        return  # what is said again after a suspension has not happened again
    yield notice


def of(body: kube.Object, said: Mapping[str, Any]) -> notices.Notice | None:
    """The transition that led to the status `said`, if there was one."""
    spoken, current = events.spoken(said), said.get("current") or {}
    transition = _transition(spoken, current, said) if spoken else ""
    if spoken is None or not transition:
        return None
    refused = transition == "failed" and spoken.get("reason") != current.get("result")
    if refused:  # the spec itself, or its tags: the newest build has ended otherwise, or there is none
        current = {"generation": said.get("observedGeneration")}
    parts = [str(current.get("number", 0)), str(current.get("attempt", 0)), transition]
    if transition in _TOLD_APART_BY_REASON:
        parts.append(str(spoken.get("reason")))
    if transition in _OF_A_GENERATION or refused:
        parts.append(str(said.get("observedGeneration")))
    data = _data({**said, "current": current}, spoken, transition)
    return _notice(body, transition, parts, _time(transition, current), data)


def ended_since(notice: notices.Notice | None, since: float) -> bool:
    """Whether it tells of an end at or after the Unix time `since`."""
    if notice is None or notice.transition not in _ENDS or not notice.time:
        return False
    return conditions.unix(notice.time) >= since


def _transition(spoken: Mapping[str, Any], current: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    phase, reason = current.get("phase"), spoken.get("reason")
    if spoken.get("type") == status.SUSPENDED:
        return "suspended"
    bad = spoken.get("type") == conditions.STALLED or spoken.get("status") == conditions.FALSE
    if phase == state.CANCELLED and (reason == state.CANCELLED or not bad):
        return "cancelled"
    if bad:
        return "failed"  # also while it is looked at again, until it has healed
    if phase == state.PENDING or (phase == state.RETRYING and reason not in contract.RETRIED):
        return "queued" if reason == "Queued" else "waiting"
    if phase in state.ACTIVE and spoken.get("type") == status.BUILDING and reason != "Building":
        return "waiting"
    if reason == "Unchanged" and conditions.is_true(said.get("conditions"), conditions.READY):
        return "unchanged"
    return _PHASES.get(str(phase), "")


def _superseded(body: kube.Object, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[notices.Notice]:
    """A build that ran, and that the history calls superseded now."""
    was, known = before.get("current") or {}, before.get("builds") or ()
    for entry in after.get("builds") or ():
        if entry.get("result") == state.SUPERSEDED and entry not in known and entry.get("number") == was.get("number"):
            parts = [str(entry["number"]), str(was.get("attempt", 0)), "superseded"]
            spoken = {"reason": state.SUPERSEDED, "message": "another build is wanted now"}
            found = _data({"current": was | {"completionTime": entry.get("completionTime")}}, spoken, "superseded")
            yield _notice(body, "superseded", parts, str(entry.get("completionTime") or ""), found)


def _notice(body: kube.Object, transition: str, parts: list[str], time: str, data: Mapping[str, Any]) -> notices.Notice:
    meta = body["metadata"]
    own = {"namespace": meta.get("namespace", ""), "name": meta["name"], "uid": meta.get("uid", "")}
    return notices.Notice(
        transition=transition,
        id="/".join([own["uid"], *parts]),
        namespace=own["namespace"],
        name=own["name"],
        time=time,
        data={**own, **data},
    )


def _time(transition: str, current: Mapping[str, Any]) -> str:
    if transition in _ENDS:
        return str(current.get("completionTime") or "")
    return str(current.get("startTime") or "") if transition == "started" else ""


def _data(said: Mapping[str, Any], spoken: Mapping[str, Any], transition: str) -> dict[str, Any]:
    """What is in the status of the object anyway, for whoever may read it; so there is no secret in it."""
    current = said.get("current") or {}
    found: dict[str, Any] = {
        "generation": current.get("generation"),
        "number": current.get("number"),
        "attempt": current.get("attempt"),
        "trigger": current.get("reason"),
        "reason": spoken.get("reason"),
        "message": str(spoken.get("message") or "")[:1000],
        "commit": current.get("commit") or (said.get("source") or {}).get("commit"),
        "isolation": current.get("isolation"),
        "durationSeconds": _seconds(current.get("startTime"), current.get("completionTime")),
        "queueSeconds": _seconds(current.get("queuedTime"), current.get("startTime")),
    }
    if transition in ("succeeded", "unchanged"):
        found |= {name: said.get(name) for name in ("image", "digest", "repository", "tags", "size")}
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def _seconds(start: Any, end: Any) -> float | None:
    if not start or not end:
        return None
    return round(max(conditions.unix(end) - conditions.unix(start), 0.0), 3)
