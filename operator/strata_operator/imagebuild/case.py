"""What `decide` sees and what it says. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from strata_builder import contract
from strata_operator import conditions, kube, names
from strata_operator.imagebuild import inputs, questions, spec, state, tags
from strata_operator.imagebuild.triggers import pools


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
    queue: str = ""  # the labels by which Kueue admits its Jobs (kueue.asked); empty: a place of ours does

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
    def handed_over(self) -> bool:
        """Whether Kueue says when a Job of this object may run, not a place of ours."""
        return bool(self.queue)

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
    follows: bool = False  # keeps the place that it has, if any: it begins when the build before it has ended
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

    def facts(self, commit: str, ref: str) -> tags.Facts:
        """What the placeholders of tags stand for."""
        number = self.current.number if self.current else 1
        return tags.Facts(number, self.now, commit, ref, self.wanted.git.revision if self.wanted.git else "")

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
