"""The ended builds in a status: one entry a number, the newest first, as many as the spec keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_operator.imagebuild import state

LIMIT: Final = 20
_MESSAGE: Final = 300


def entry(
    current: state.Current,
    result: str,
    now: float,
    *,
    digest: str = "",
    commit: str = "",
    message: str = "",
    attempts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What is kept of a build that has ended with `result`; without a `message` it says which base images began it."""
    message = message or current.cause
    found = {
        "number": current.number,
        "reason": current.reason,
        "result": result,
        "digest": digest,
        "commit": commit or current.commit,
        "startTime": state.stamp(current.start_time) if current.start_time else "",
        "completionTime": state.stamp(now),
        "message": message if len(message) <= _MESSAGE else message[: _MESSAGE - 1] + "…",
        "log": current.log if current.attempt else "",
        "attempts": list(attempts),
    }
    return {name: value for name, value in found.items() if value not in ("", [])}


def add(
    builds: Sequence[Mapping[str, Any]], new: Mapping[str, Any], *, succeeded: int, failed: int
) -> tuple[Mapping[str, Any], ...]:
    """`builds` with `new` in the place of an entry of the same number, and no more than the limits allow."""
    rest = [build for build in builds if build.get("number") != new["number"]]
    ordered = sorted([new, *rest], key=lambda build: -int(build["number"]))
    room = {True: succeeded, False: failed}
    kept = []
    for build in ordered:
        good = build["result"] == "Succeeded"
        if room[good] > 0:
            room[good] -= 1
            kept.append(build)
    return tuple(kept[:LIMIT])
