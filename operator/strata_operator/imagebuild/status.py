"""Conditions and the whole status, from where a build stands. Pure.

==============================================  =======  ===========  =======  =============================
moment                                          Ready    Reconciling  Stalled  other
==============================================  =======  ===========  =======  =============================
this generation never built, waiting or running Unknown  True         -        Building=True
this generation built, a rebuild is running     True     -            -        Building=True
pushed, or nothing to do                        True     -            -        LastBuildSucceeded=True
a rebuild of this generation failed             True     -            -        LastBuildSucceeded=False
the first build of a new generation failed      False    -            True     LastBuildSucceeded=False
suspended                                       as was   -            -        Suspended=True
==============================================  =======  ===========  =======  =============================
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_operator import conditions
from strata_operator.conditions import Condition
from strata_operator.imagebuild import state

LIMIT: Final = 16 * 1024  # bytes of a status as JSON
BUILDING: Final = "Building"
LAST: Final = "LastBuildSucceeded"
SUSPENDED: Final = "Suspended"
POLLING: Final = "Polling"
WEBHOOK: Final = "Webhook"  # False, or absent


def working(now: state.State, generation: int, reason: str, message: str) -> list[Condition]:
    """A build waits or runs."""
    building = Condition(BUILDING, conditions.TRUE, reason, message)
    if now.built(generation):
        return [*_as_was(now, conditions.READY), building, *_as_was(now, LAST)]
    return [*conditions.reconciling(reason, message), building, *_as_was(now, LAST)]


def rechecking(now: state.State, generation: int, reason: str, message: str) -> list[Condition]:
    """It failed for something outside, and is being looked at again: Stalled until that has healed."""
    if now.built(generation):
        return working(now, generation, reason, message)
    return [*conditions.stalled(reason, message), *_as_was(now, LAST)]


def failed(now: state.State, generation: int, reason: str, message: str) -> list[Condition]:
    """The newest build failed for good, or until something outside heals."""
    last = Condition(LAST, conditions.FALSE, reason, message)
    if now.built(generation):
        return [*_as_was(now, conditions.READY), last]
    return [*conditions.stalled(reason, message), last]


def satisfied(reason: str, message: str) -> list[Condition]:
    """The image of this generation is in the registry."""
    return [
        *conditions.ready(reason, message),
        Condition(LAST, conditions.TRUE, "Succeeded", "The last build succeeded."),
    ]


def suspended(now: state.State, *, as_it_was: bool) -> list[Condition]:
    """Nothing is begun until spec.suspend is false again. Ready stays unless this generation asks for another image."""
    message = "spec.suspend is true: nothing is built until it is false or removed"
    ready = _as_was(now, conditions.READY)
    if not as_it_was or not ready or ready[0].status == conditions.UNKNOWN:
        ready = [Condition(conditions.READY, conditions.UNKNOWN, SUSPENDED, message)]
    return [*ready, *_as_was(now, LAST), Condition(SUSPENDED, conditions.TRUE, SUSPENDED, message)]


def polling_failed(problems: Sequence[tuple[str, str]]) -> list[Condition]:
    """What cannot be watched, the git source or a base image, as (reason, message) each; what was built stays."""
    if not problems:
        return []
    return [Condition(POLLING, conditions.FALSE, problems[0][0], "\n".join(message for _, message in problems))]


def render(
    now: state.State, wanted: Sequence[Condition], *, generation: int, time: float
) -> tuple[state.State, dict[str, Any]]:
    """The state with its conditions, and the status to write, at most LIMIT bytes."""
    merged = conditions.merge(now.conditions, wanted, generation=generation, now=time)
    final = dataclasses.replace(now, conditions=tuple(merged), observed_generation=generation)
    return final, fit(state.write(final))


def fit(status: dict[str, Any]) -> dict[str, Any]:
    """`status` at most LIMIT bytes: first the log lines of the oldest attempts go, then the last steps, then the messages of
    old builds and their attempts, then base images."""
    status = {name: value for name, value in status.items() if value not in ([], {})}
    if _size(status) <= LIMIT:
        return status
    _drop_lines(status)
    while _size(status) > LIMIT and status.get("steps"):
        status["steps"] = status["steps"][: len(status["steps"]) // 2]
    if _size(status) > LIMIT:
        status["builds"] = [_without(build, "message", "attempts") for build in status.get("builds", ())]
    for name in ("baseImages", "builds"):
        while _size(status) > LIMIT and status.get(name):
            status[name] = status[name][: len(status[name]) // 2]
    while _size(status) > LIMIT and (used := status.get("current", {}).get("usedBaseImages")):
        status["current"] = {**status["current"], "usedBaseImages": used[: len(used) // 2]}
    if _size(status) > LIMIT:
        status["conditions"] = [{**c, "message": c["message"][:500]} for c in status["conditions"]]
    return {name: value for name, value in status.items() if value not in ([], {})}


def _as_was(now: state.State, kind: str) -> list[Condition]:
    found = conditions.find(now.conditions, kind)
    return [Condition(kind, found["status"], found["reason"], found.get("message", ""))] if found else []


def _drop_lines(status: dict[str, Any]) -> None:
    """Of the newest attempt that has any the lines stay."""
    if _size(status) <= LIMIT:
        return
    for name in {"current", "builds"} & status.keys():
        status[name] = json.loads(json.dumps(status[name]))
    holders = [status.get("current", {}), *status.get("builds", ())]
    told = [attempt for holder in holders for attempt in holder.get("attempts", ()) if attempt.get("lastLines")]
    while _size(status) > LIMIT and len(told) > 1:
        del told.pop()["lastLines"]


def _without(build: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return {name: value for name, value in build.items() if name not in names}


def _size(status: Mapping[str, Any]) -> int:
    return len(json.dumps(status, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
