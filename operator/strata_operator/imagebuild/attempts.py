"""The attempts of a build in a status: each with why it ended and, of a failure, the last lines of its log. Pure.

They gather in `status.current` while the build is open, and go into its entry of `status.builds` when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_builder import contract
from strata_builder.buildlog import text as buildlog
from strata_operator import names
from strata_operator.imagebuild import podstatus, state

KEPT: Final = 11  # the first attempt and as many retries as a spec may ask for
LINES: Final = 10
SIZE: Final = 1024  # bytes of the last lines of one attempt
_MESSAGE: Final = 200
_READ: Final = 4096  # characters of what was said that are looked at
Attempts = Sequence[Mapping[str, Any]]


def log_tag(uid: str) -> str:
    """The tag of an image's repository under which the logs of the ImageBuild `uid` are kept; no image may have it."""
    return f"{contract.LOG_TAG_PREFIX}{names.short_hash(uid)}"


def of(now: state.State) -> Attempts:
    """Those of the current build so far, the newest first: one that failed and is looked at again has its older ones in
    the history."""
    current = now.current
    if current is None or current.attempts:
        return current.attempts if current else ()
    return next((build.get("attempts") or () for build in now.builds if build.get("number") == current.number), ())


def add(
    before: Attempts, current: state.Current, result: str, now: float, failure: contract.Failure | None
) -> Attempts:
    """`before` with the newest attempt of `current`, which ended with `result`."""
    found = {
        "attempt": current.attempt,
        "result": result,
        "startTime": state.stamp(current.start_time) if current.start_time else "",
        "completionTime": state.stamp(now),
        "message": _clamped(podstatus.clean(failure.message), _MESSAGE) if failure else "",
        "lastLines": last_lines(failure.log) if failure else "",
    }
    rest = [attempt for attempt in before if attempt.get("attempt") != current.attempt]
    return ({name: value for name, value in found.items() if value != ""}, *rest)[:KEPT]


def last_lines(text: str) -> str:
    """The end of a log as it may stand in a status: no control sequences, at most LINES lines and SIZE bytes."""
    return buildlog.last(text[-_READ:].split("\n"), count=LINES, size=SIZE)


def _clamped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
