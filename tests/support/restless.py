"""A world in which everything outside an ImageBuild may break and heal, and that knows what was made of what."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions
from strata_operator.imagebuild import case, inputs, podstatus, questions, queueing, spec, state, target
from strata_operator.imagebuild.triggers import bases
from support import imagebuilds as ib

POLL: Final = 300.0
BASE_POLL: Final = 3600.0
COMMITS: Final = tuple(letter * 40 for letter in "abc")
BASES: Final = tuple(f"sha256:{letter * 64}" for letter in "123")
QUEUED: Final = queueing.Standing(3, queueing.CLUSTER, 4, 9)
_GRACE: Final = 30.0  # seconds that a pod has to end
_TTL: Final = 3600.0


@dataclass(frozen=True)
class Made:
    """What a Job was made of."""

    job: questions.Job
    life: str  # of the object and its status
    spec: ib.Body
    fields: str
    registry: str
    base: str
    at: float


@dataclass
class Restless(ib.World):
    """The Job controller, the kubelet and the pollers are played by its methods, which a test calls in any order."""

    registries: dict[str, bool | None] = field(default_factory=lambda: {"main": True, "spare": True})
    commit: str = COMMITS[0]
    base: str = BASES[0]
    files: Mapping[str, str] | None = field(default_factory=lambda: {"version": "1"})
    source: Any = None  # what is told of the source instead of its commit
    secrets: contract.Failure | None = None
    standing: queueing.Standing | None = None
    refusal: contract.Failure | None = None
    away: contract.Failure | None = None  # why the registry does not answer
    untagged: contract.Failure | None = None  # why it takes no tags
    polled: Any = None
    base_seen: str = ""
    unpolled: float = 0.0  # seconds since the poller has looked
    unseen: float = 0.0  # the same of base images
    held: set[tuple[str, str]] = field(default_factory=set)  # (Registry, digest): manifests that are there
    pushed: dict[tuple[str, int, int], contract.BuildResult] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    digests: dict[str, Made] = field(default_factory=dict)
    memory: dict[Any, tuple[float, Any]] = field(default_factory=dict)
    pods_made: int = 0
    lives: int = 0  # statuses that were lost

    # -- looks --

    def look(self) -> case.Decision:
        ready = self.registries[self.registry_name]
        self.registry = None if ready is None else ib.registry(ready=ready, name=self.registry_name)
        return super().look()

    def step(self) -> case.Decision:
        known = dict(self.jobs)
        decision = super().step()
        if planned := decision.start:
            self.jobs[planned.name] = known.get(planned.name, self.jobs[planned.name])  # one of that name is taken over
            self.made.setdefault(planned.name, self._made(planned))
        return decision

    def step_and_die(self) -> None:
        """The operator is killed when it has written the status, and forgets what it knew."""
        if (decision := self.look()).status is not None:
            self.body = {**self.body, "status": copy.deepcopy(decision.status)}
        self.restart()

    def restart(self) -> None:
        self.restarted, self.polled, self.base_seen = True, None, ""
        self.memory.clear()

    def answer(self, question: questions.Question) -> Any:
        match question:
            case questions.ConfigMaps():
                return {name: None if self.files is None else {"data": self.files} for name in question.names}
            case questions.Commit():
                known = getattr(self.memory.get(questions.Commit, (0.0, None))[1], "commit", "")
                if known and getattr(self.polled, "commit", known) != known:
                    del self.memory[questions.Commit]  # one of them is older, and begins no build
                return self._remembered(questions.Commit, question.max_age, self._resolved)
            case questions.Polled():
                return self.polled
            case questions.BaseImages():
                return bases.Seen({"debian": bases.Found(self.base_seen, "sha256:top")} if self.base_seen else {})
            case questions.Published() | questions.Tag() | questions.LostResult():
                return self._of_registry(question)
        kinds = {questions.Secrets: "secrets", questions.Slot: "standing", questions.Admission: "refusal"}
        return getattr(self, kinds[type(question)]) if type(question) in kinds else super().answer(question)

    def _resolved(self) -> Any:
        return self.source or questions.Resolved(self.commit, "refs/heads/main", self.now)

    def _of_registry(self, question: questions.Question) -> Any:
        match question:
            case questions.Published() if question.max_age:
                self.memory.setdefault(question.digest, (self.now - question.max_age / 2, True))
                return self._remembered(question.digest, question.max_age, lambda: self._holds(question.digest))
            case questions.Published():
                return self._holds(question.digest)
            case questions.Tag():
                return self.away or self.untagged
            case questions.LostResult():
                return self.away or self.pushed.get((self.uid, question.number, question.attempt))
        raise TypeError(question)

    def _holds(self, digest: str) -> Any:
        return self.away or (self.registry_name, digest) in self.held

    def _remembered(self, key: Any, max_age: float, ask: Any) -> Any:
        when, known = self.memory.get(key, (self.now - max_age - 1, None))
        if max_age and known and 0 <= self.now - when <= max_age:
            return known
        if (found := ask()) and not isinstance(found, questions.Later):
            self.memory[key] = (self.now, found)
        return found

    def _made(self, planned: questions.Job) -> Made:
        return Made(planned, self.life, self.body["spec"], self.fields, self.registry_name, self.base, self.now)

    # -- what is so --

    @property
    def has_to_tell(self) -> bool:
        """Whether time that passes may bring a reason to build."""
        found = getattr(self.polled, "commit", None)
        return bool(self.wanted_schedule or self.base_seen != self.base or self.source or found != self.commit)

    @property
    def wanted_schedule(self) -> Any:
        return (self.body["spec"].get("triggers") or {}).get("schedule")

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def life(self) -> str:
        return f"{self.uid}/{self.lives}"

    @property
    def generation(self) -> int:
        return int(self.body["metadata"]["generation"])

    @property
    def registry_name(self) -> str:
        return str(self.body["spec"]["output"]["registry"]["name"])

    @property
    def wanted(self) -> spec.Spec:
        return spec.parse(self.body)

    @property
    def fields(self) -> str:
        return inputs.fields(self.wanted)

    def inputs(self, commit: str) -> str:
        """What the image is to be made of now, from this commit."""
        aim = target.of(ib.registry(name=self.registry_name), self.namespace, self.wanted, ("team", "web"))
        assert isinstance(aim, target.Target)
        files = {name: {"data": self.files} for name in self.wanted.config_maps}
        return inputs.digest(self.wanted, repository=aim.repository, commit=commit, config_maps=files)

    @property
    def running_jobs(self) -> list[ib.Body]:
        """Jobs that may still make a pod."""
        return [job for job in self.jobs.values() if not job["status"].get("conditions")]

    @property
    def running_pods(self) -> list[ib.Body]:
        """Pods of which no container has ended."""
        return [pod for pod in self.pods.values() if not podstatus.ended(pod) and not _reported(pod)]

    def pods_of(self, job: ib.Body) -> list[ib.Body]:
        return [
            pod for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        ]

    # -- what people do --

    def change(self, **changes: Any) -> None:
        """A change of the spec, if it is one."""
        if {**self.body["spec"], **changes} != self.body["spec"]:
            self.edit(**changes)

    def restore(self, body: ib.Body, uid: str, *, with_status: bool) -> None:
        """The object is made anew, as a backup has it; what it owned is not."""
        status = body["status"] if with_status else {"observedGeneration": -1}
        self.body = copy.deepcopy({**body, "status": status})
        self.body["metadata"] |= {"uid": uid, "generation": 1}
        self.jobs, self.pods = {}, {}
        self.restart()

    def lose_status(self) -> None:
        self.body = {**self.body, "status": {"observedGeneration": -1}}
        self.pushed.clear()
        self.lives += 1
        self.restart()

    # -- what the cluster does --

    def end(self, name: str) -> None:
        """The Job goes at once, its pods have their grace."""
        job = self.jobs.pop(name)
        for pod in self.pods_of(job):
            pod["metadata"]["deletionTimestamp"] = conditions.rfc3339(self.now + _GRACE)
            if podstatus.ended(pod):
                del self.pods[pod["metadata"]["name"]]

    def run(self) -> ib.Body | None:
        """The pod of the Job that runs; one is made where there is none."""
        for job in self.running_jobs:
            there = [pod for pod in self.pods_of(job) if not podstatus.ended(pod) and not _reported(pod)]
            if there:
                return there[0]
            self.pods_made += 1
            name = f"{job['metadata']['name']}-{self.pods_made}"
            self.pods[name] = ib.pod(job, now=self.now, name=name, containerStatuses=[ib.running()])
            return self.pods[name]
        return None

    def pod_says(self, said: Any = "", code: int = 0, **status: Any) -> None:
        """The pod that runs has ended with this."""
        if pod := self.run():
            found = {"containerStatuses": [ib.ended(code=code, message=said, at=self.now)]}
            pod["status"] = pod["status"] | found | {"phase": "Failed" if code else "Succeeded"} | status
            self._job_of(pod)["status"] = {"conditions": [{"type": "Failed" if code else "Complete", "status": "True"}]}

    def push(self) -> contract.BuildResult | None:
        """The pod that runs has put its image into the registry."""
        if (pod := self.run()) is None:
            return None
        made = self.made[self._job_of(pod)["metadata"]["name"]]
        digest = "sha256:" + hashlib.sha256(f"{made.life}/{made.job.name}/{made.at}".encode()).hexdigest()
        self.digests[digest] = made
        self.held.add((made.registry, digest))
        source = contract.SourceResult(commit=made.job.commit or self.commit)
        said = ib.result(digest, base_images=(contract.BaseImage("debian", made.base),), source=source)
        self.pushed[self.uid, made.job.number, made.job.attempt] = said
        return said

    def succeeds(self) -> None:
        if said := self.push():
            self.pod_says(said)

    def vanishes(self) -> None:
        """The pod that runs is gone, and its Job fails for that."""
        if pod := self.run():
            self._job_of(pod)["status"] = {"failed": 1, "conditions": [{"type": "Failed", "status": "True"}]}
            del self.pods[pod["metadata"]["name"]]

    def vanishes_late(self) -> None:
        self.push()
        self.vanishes()

    def evicted(self, why: str) -> None:
        self.pod_says("", 137, reason="Evicted", message=why)

    def needs_a_sandbox(self) -> None:
        """Only a Layers pod can say so."""
        pod = self.run()
        if pod and self.made[self._job_of(pod)["metadata"]["name"]].job.isolation == "Layers":
            self.pod_says("", contract.ExitCode.NEEDS_SANDBOX)

    def job_is_deleted(self) -> None:
        for job in self.running_jobs[:1]:
            self.end(job["metadata"]["name"])

    def disrupted(self) -> None:
        """The node gives the pod up; its Job makes another one."""
        if pod := self.run():
            found = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
            pod["status"] = {"phase": "Failed", "conditions": found}

    def _job_of(self, pod: ib.Body) -> ib.Body:
        uid = pod["metadata"]["ownerReferences"][0]["uid"]
        return next(job for job in self.jobs.values() if job["metadata"]["uid"] == uid)

    def poll(self) -> None:
        """The poller has looked at the source."""
        self.unpolled = 0.0
        if not isinstance(self.source, questions.Later):
            self.polled = self._resolved()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.unpolled, self.unseen = self.unpolled + seconds, self.unseen + seconds
        if self.unpolled >= POLL:
            self.poll()
        if self.unseen >= BASE_POLL:
            self.base_seen, self.unseen = self.base, 0.0
        for name, pod in list(self.pods.items()):
            if self.now > podstatus.time(pod["metadata"].get("deletionTimestamp")) > 0:
                del self.pods[name]
        if seconds > _TTL:
            for job in [job for job in self.jobs.values() if "ttlSecondsAfterFinished" in job["spec"]]:
                self.end(job["metadata"]["name"])

    def set_back(self, seconds: float) -> None:
        """The clock of all is another one; what was ending has ended meanwhile."""
        self.now -= seconds
        self.pods = {name: pod for name, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def heal(self) -> None:
        """All that is outside is well again."""
        self.registries = dict.fromkeys(self.registries, True)
        self.source = self.secrets = self.standing = self.refusal = self.away = self.untagged = None
        self.files, self.paused = self.files or {"version": "1"}, ""


def _reported(pod: ib.Body) -> bool:
    return any(podstatus.terminated(status) for status in podstatus.ours(pod))


def phase(world: ib.World) -> str:
    return str((world.status.get("current") or {}).get("phase", ""))


def is_open(world: ib.World) -> bool:
    return phase(world) in state.OPEN
