"""What is said of a build that waits for something, and of one that runs. Pure."""

from __future__ import annotations

from strata_operator import conditions
from strata_operator.imagebuild import state, status, verdicts
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude

#: Failures of a pod that never got to run: they have healed as soon as one runs.
BEFORE_START = frozenset({"ReferenceNotFound", "PodRejected", "QuotaExceeded", "AccessNotGranted"})


def wait(
    case: Case,
    waiting: verdicts.Waiting,
    *,
    look_again: float | None = None,
    queued: bool = False,
    clear: bool = False,
) -> Decision:
    """The current build waits, without a Job, for something that comes by itself."""
    pending = case.change(phase=state.PENDING) if case.current and case.current.phase != state.RETRYING else case
    said = progress(pending, waiting.reason, waiting.message)
    return conclude(pending, said, look_again=look_again, queued=queued, clear=clear)


def progress(case: Case, reason: str, message: str, *, started: bool = False) -> list[conditions.Condition]:
    """Conditions of a build that waits or runs; one that is only looked at again stays Stalled until it has healed."""
    current = case.current
    if current is None or not current.checks or (started and current.result in BEFORE_START):
        return status.working(case.was, case.seen.generation, reason, message)
    last = next((c for c in case.was.conditions if c.get("type") == status.LAST), {})
    said = str(last.get("message") or message)
    return status.rechecking(case.was, case.seen.generation, current.result, said)
