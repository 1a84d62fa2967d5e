"""How a look ends: what the status says, when to look again, and which Jobs and ConfigMaps are needed no more. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strata_builder.context import gitref
from strata_operator import conditions, kube, names
from strata_operator.imagebuild import kueue, podstatus, questions, state, status
from strata_operator.imagebuild.case import Case, Decision, Ended, Observed, Ref
from strata_operator.imagebuild.triggers import pools

_PUNCTUAL: Final = 0.05  # seconds after its time, so that a timer which is early does not look twice


def conclude(
    case: Case,
    wanted: Sequence[conditions.Condition],
    *,
    ended: Ended | None = None,
    start: questions.Job | None = None,
    look_again: float | None = None,
    queued: bool = False,
    clear: bool = False,
) -> Decision:
    """The decision that makes the status say `wanted`, and tidies up what no build needs any more.

    With `clear`, Jobs that have not finished are ended even if their pods are about to.
    """
    said = [*wanted, *status.polling_failed(case.polling)]
    final, written = status.render(case.was, said, generation=case.seen.generation, time=case.now)
    current = final.current
    active = current is not None and current.active and not _parked(case.seen, current)
    return Decision(
        status=written if written != (case.seen.body.get("status") or {}) else None,
        ended=(ended,) if ended else (),
        end_jobs=tuple(_ref(job) for job in (unfinished_jobs(case.seen) if clear else stale_jobs(case.seen, current))),
        expire_jobs=tuple(job["metadata"]["name"] for job in _expiring(case.seen, current)),
        drop_config_maps=tuple(_ref(found) for found in _unused_config_maps(case.seen, current)),
        start=start,
        look_again=_sooner(look_again, case, final),
        active=active,
        queued=queued,
        watch=_interest(case, final),
    )


def _interest(case: Case, final: state.State) -> pools.Interest | None:
    """What polling is to tell this object of."""
    git, interval = case.wanted.git, case.wanted.poll_interval
    if git is None or interval is None or case.wanted.suspend or _deleting(case.seen.body):
        return None
    if gitref.is_commit(git.revision):
        return None
    return pools.Interest(
        key=case.seen.key,
        url=git.url,
        revision=git.revision,
        secret=git.secret,
        interval=interval,
        commit=final.current.commit if final.current else "",
        fails=case.unpolled,
        checked=final.last_checked or 0.0,
    )


def _sooner(look_again: float | None, case: Case, final: state.State) -> float | None:
    """Seconds until the next look, which is not later than the time that the schedule says."""
    if case.wanted.suspend or final.next_schedule is None or final.next_schedule <= case.now:
        return look_again
    wait = final.next_schedule - case.now + _PUNCTUAL
    return wait if look_again is None else min(look_again, wait)


def _parked(seen: Observed, current: state.Current) -> bool:
    """Whether the current build's Job is suspended, or will be when it is made."""
    job = seen.job(current.job)
    return seen.handed_over if job is None else kueue.is_suspended(job)


def stale_jobs(seen: Observed, current: state.Current | None) -> list[kube.Object]:
    """Jobs that must not go on: of another build or attempt, or of one that has ended without its pod having ended."""
    return [job for job in unfinished_jobs(seen) if _unwanted(seen, job, current)]


def unfinished_jobs(seen: Observed) -> list[kube.Object]:
    """Jobs that may still make a pod."""
    return [job for job in seen.jobs if not _deleting(job) and not _finished(job)]


def _unwanted(seen: Observed, job: kube.Object, current: state.Current | None) -> bool:
    if current is None or current.job != job["metadata"]["name"]:
        return True
    if current.active:
        return False
    return current.phase in state.STOPPED or not _reported(seen.pods_of(job))


def _reported(pods: Sequence[kube.Object]) -> bool:
    """Some container of ours has ended: the others follow by themselves, and the logs are worth keeping. Not if another pod
    takes the place of its pod."""
    return any(
        podstatus.ended(pod)
        or any(
            (s.get("state") or {}).get("terminated") for s in (pod.get("status") or {}).get("containerStatuses") or ()
        )
        for pod in pods
        if not podstatus.disrupted(pod)
    )


def _expiring(seen: Observed, current: state.Current | None) -> list[kube.Object]:
    """Jobs whose result is in the status, and that have no end of their own yet."""
    active = current.job if current and current.active else ""
    stale = stale_jobs(seen, current)
    return [
        job
        for job in seen.jobs
        if job["metadata"]["name"] != active
        and not _deleting(job)
        and job not in stale
        and "ttlSecondsAfterFinished" not in (job.get("spec") or {})
    ]


def _unused_config_maps(seen: Observed, current: state.Current | None) -> list[kube.Object]:
    if current is None or not current.active:
        return [found for found in seen.config_maps if not _deleting(found)]
    job = seen.job(current.job)
    if job is None:
        return []  # those of the Job that is about to be made may be among them
    used = ((job["metadata"].get("annotations") or {}).get(names.ANNOTATION_CONFIG_MAPS) or "").split(",")
    return [f for f in seen.config_maps if f["metadata"]["name"] not in used and not _deleting(f)]


def _finished(job: kube.Object) -> bool:
    found = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in found)


def _deleting(body: kube.Object) -> bool:
    return bool(body["metadata"].get("deletionTimestamp"))


def _ref(body: kube.Object) -> Ref:
    return Ref(body["metadata"]["name"], body["metadata"]["uid"])
