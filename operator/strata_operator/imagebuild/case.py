"""What `decide` sees and what it says. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from strata_builder import contract
from strata_builder.context import gitref
from strata_operator import conditions, kube, names
from strata_operator.imagebuild import inputs, kueue, podstatus, questions, spec, state, status
from strata_operator.imagebuild.triggers import pools

_PUNCTUAL = 0.05  # seconds after its time, so that a timer which is early does not look twice


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the cache. `jobs`, `pods` and `config_maps` are those of this very object, by its uid."""

    body: kube.Object
    registry: kube.Object | None = None
    namespace: kube.Object | None = None
    jobs: tuple[kube.Object, ...] = ()
    pods: tuple[kube.Object, ...] = ()
    config_maps: tuple[kube.Object, ...] = ()
    paused: str = ""  # why nothing may be started, in words for people
    made: str = ""  # the Job that this very process has made for it last
    handed_over: bool = False  # Kueue says when a Job of this object may run, not a place of ours

    @property
    def key(self) -> names.Key:
        return kube.place(self.body)

    @property
    def uid(self) -> str:
        return str(self.body["metadata"].get("uid") or "")

    @property
    def generation(self) -> int:
        return int(self.body["metadata"].get("generation") or 0)

    @property
    def created(self) -> float:
        return conditions.unix(self.body["metadata"]["creationTimestamp"])

    def annotation(self, name: str) -> str:
        return str((self.body["metadata"].get("annotations") or {}).get(name) or "")[:256]

    @property
    def pod_security(self) -> str | None:
        """The level that the namespace enforces, None where it leaves that to the cluster."""
        labels = ((self.namespace or {}).get("metadata") or {}).get("labels") or {}
        return labels.get(names.LABEL_POD_SECURITY)

    def job(self, name: str) -> kube.Object | None:
        return next((job for job in self.jobs if job["metadata"]["name"] == name), None)

    def pods_of(self, job: kube.Object) -> list[kube.Object]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self.pods if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences") or ())]


@dataclass(frozen=True, slots=True)
class Ref:
    """One very object to delete."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A build, or an attempt of one, that has ended: counted once, when the status that says so was written."""

    result: str  # succeeded, unchanged, failed, cancelled
    reason: str
    isolation: str = ""
    duration: float | None = None
    queue: float | None = None
    pod_start: float | None = None
    metrics: contract.Metrics | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """To be applied once, in the order of the fields; an error on the way leaves the rest to the next look."""

    status: dict[str, Any] | None = None
    ended: tuple[Ended, ...] = ()
    end_jobs: tuple[Ref, ...] = ()
    expire_jobs: tuple[str, ...] = ()
    drop_config_maps: tuple[Ref, ...] = ()
    start: questions.Job | None = None
    look_again: float | None = None
    active: bool = False  # keeps its place among the running builds
    queued: bool = False  # keeps its place in the queue
    watch: pools.Interest | None = None  # the source that is to be polled


@dataclass(frozen=True, slots=True)
class Case:
    """One object at one moment; `was` is its status, changed step by step in copies.

    `due` is the time of its schedule to build for now, if there is one; `polling` are the reasons, each with its message,
    why something that is to be watched cannot be.
    """

    seen: Observed
    wanted: spec.Spec
    was: state.State
    now: float
    due: float | None = None
    polling: tuple[tuple[str, str], ...] = ()
    unpolled: bool = False  # among them: the git source

    @property
    def current(self) -> state.Current | None:
        return self.was.current

    @property
    def forced(self) -> str:
        """Why a build must run whatever its inputs are, else empty."""
        for name, handled, reason in (
            (names.ANNOTATION_REBUILD, self.was.handled_rebuild, "Rebuild"),
            (names.ANNOTATION_NO_CACHE, self.was.handled_no_cache, "NoCache"),
        ):
            if self.seen.annotation(name) not in ("", handled):
                return reason
        return "" if self.due is None else "Scheduled"

    @property
    def cancelled(self) -> bool:
        """Whether somebody asks to end the current build, and nobody has looked at that yet."""
        asked = self.seen.annotation(names.ANNOTATION_CANCEL)
        return bool(asked) and asked != self.was.handled_cancel

    @property
    def outdated(self) -> bool:
        """Whether the current build is of a spec that asks for another image than the present one."""
        return self.current is not None and self.current.fields != inputs.fields(self.wanted)

    @property
    def fresh(self) -> bool:
        """Nobody has looked at this generation yet."""
        return self.was.observed_generation != self.seen.generation

    def become(self, was: state.State) -> Case:
        return dataclasses.replace(self, was=was)

    def unwatched(self, reason: str, message: str) -> Case:
        """The case in which the condition Polling says this, too."""
        return dataclasses.replace(self, polling=(*self.polling, (reason, message)))

    def change(self, **changes: Any) -> Case:
        """The case with a changed current build."""
        return self.become(self.was.with_current(**changes))


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
    """Some container of ours has ended: the others follow by themselves, and the logs are worth keeping."""
    return any(
        podstatus.ended(pod)
        or any(
            (s.get("state") or {}).get("terminated") for s in (pod.get("status") or {}).get("containerStatuses") or ()
        )
        for pod in pods
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
