"""ImageBuilds, Registries, Jobs and pods as the API server shows them, and a small world in which decisions happen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strata_builder import contract, termination
from strata_operator import conditions, kube, names
from strata_operator.imagebuild import case, decide, kueue, questions
from strata_operator.imagebuild.triggers import bases

UID = "11111111-2222-3333-4444-555555555555"
NOW = 1_800_000_000.0
DIGEST = "sha256:" + "ab" * 32
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Body = dict[str, Any]


def build(name: str = "web", namespace: str = "team", *, generation: int = 1, uid: str = UID, **spec: Any) -> Body:
    """An ImageBuild; `spec` replaces fields of the smallest one."""
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "generation": generation,
        "creationTimestamp": conditions.rfc3339(NOW - 60),
        "resourceVersion": "1",
    }
    fields = {"dockerfile": {"inline": "FROM scratch\nCOPY a /\n"}, "output": {"registry": {"name": "main"}}} | spec
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ImageBuild",
        "metadata": meta,
        "spec": fields,
        "status": {"observedGeneration": -1},
    }


def registry(*, ready: bool = True, namespace: str = "team", name: str = "main", **spec: Any) -> Body:
    status = "True" if ready else "False"
    reason = "Serving" if ready else "Unreachable"
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Registry",
        "metadata": {"name": name, "namespace": namespace, "uid": f"r-{name}", "generation": 1},
        "spec": {"external": {"host": "registry.example"}} | spec,
        "status": {
            "observedGeneration": 1,
            "conditions": [
                {"type": "Ready", "status": status, "reason": reason, "message": "so it is", "observedGeneration": 1}
            ],
            "endpoints": {"push": "registry.example:5000", "node": "localhost:5000"},
            "credentials": {"users": ["strata"]},
        },
    }


def namespace(level: str | None = None, name: str = "team") -> Body:
    labels = {names.LABEL_POD_SECURITY: level} if level else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"ns-{name}", "labels": labels}}


def job(planned: questions.Job, *, now: float = NOW, uid: str = "", owner: str = UID) -> Body:
    """The Job that the operator would have made, as far as decisions look at it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": planned.name,
            "namespace": "team",
            "uid": uid or f"uid-of-{planned.name}",
            "creationTimestamp": conditions.rfc3339(now),
            "annotations": {names.ANNOTATION_INPUTS: planned.inputs},
            "ownerReferences": [{"kind": "ImageBuild", "name": "web", "uid": owner}],
        },
        "spec": {},
        "status": {},
    }


def pod(of: Body, *, now: float = NOW, name: str = "", **status: Any) -> Body:
    """A pod of the Job `of` with this status."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"{of['metadata']['name']}-x",
            "namespace": "team",
            "uid": f"uid-of-pod-{name or of['metadata']['name']}",
            "creationTimestamp": conditions.rfc3339(now),
            "ownerReferences": [{"kind": "Job", "name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}],
        },
        "spec": {"nodeName": "node", "containers": [{"name": "push", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": {"phase": "Running", "startTime": conditions.rfc3339(now)} | status,
    }


def running(name: str = "push") -> Body:
    return {"name": name, "state": {"running": {"startedAt": conditions.rfc3339(NOW)}}}


def waiting(name: str = "push", reason: str = "ContainerCreating", message: str = "") -> Body:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}}


def ended(name: str = "push", code: int = 0, message: Any = "", *, reason: str = "", at: float = NOW) -> Body:
    """A container that ended; `message` may be a value of the contract."""
    said = message if isinstance(message, str) else termination.message(message)
    reason = reason or ("Error" if code else "Completed")
    state = {"exitCode": code, "message": said, "finishedAt": conditions.rfc3339(at), "reason": reason}
    return {"name": name, "state": {"terminated": state}}


def result(digest: str = DIGEST, **more: Any) -> contract.BuildResult:
    return contract.BuildResult((contract.PlatformResult("linux/amd64", digest, 1234),), **more)


def event(reason: str, note: str, at: float = NOW) -> Body:
    return {"reason": reason, "note": note, "eventTime": conditions.rfc3339(at)}


@dataclass
class World:
    """A cluster that does at once what a decision says. Answers come from `answers` by the question's type."""

    body: Body = field(default_factory=build)
    registry: Body | None = field(default_factory=registry)
    namespace: Body = field(default_factory=namespace)
    jobs: dict[str, Body] = field(default_factory=dict)
    pods: dict[str, Body] = field(default_factory=dict)
    config_maps: list[Body] = field(default_factory=list)
    now: float = NOW
    paused: str = ""
    restarted: bool = False  # the operator is another one since the last Job was made
    answers: dict[type, Any] = field(default_factory=dict)
    asked: list[questions.Question] = field(default_factory=list)
    started: list[questions.Job] = field(default_factory=list)
    counted: list[case.Ended] = field(default_factory=list)
    tagged: list[questions.Tag] = field(default_factory=list)

    def look(self) -> case.Decision:
        """One decision, without applying it."""
        seen = case.Observed(
            body=self.body,
            registry=self.registry,
            namespace=self.namespace,
            jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods.values()),
            config_maps=tuple(self.config_maps),
            paused=self.paused,
            made=self.started[-1].name if self.started and not self.restarted else "",
            queue=kueue.asked(kueue.labels(self.body, {})),
        )
        steps = decide.decide(seen, self.now)
        answer: Any = None
        try:
            while True:
                question = steps.send(answer)
                self.asked.append(question)
                answer = self.answer(question)
        except StopIteration as e:
            decision: case.Decision = e.value
            return decision

    def answer(self, question: questions.Question) -> Any:
        if isinstance(question, questions.Tag):
            self.tagged.append(question)
        if isinstance(question, questions.Remember):
            self.answers.setdefault(type(question.asked), question.answer)
        kind = type(question)
        if kind is questions.Polled and kind not in self.answers:
            kind = questions.Commit  # polling finds what a look would
        found = self.answers.get(kind, _DEFAULTS.get(kind))
        return found(question) if callable(found) else found

    def step(self) -> case.Decision:
        """One decision, applied."""
        decision = self.look()
        if decision.status is not None:
            self.body = {**self.body, "status": copy.deepcopy(decision.status)}
        self.counted += decision.ended
        for ref in decision.end_jobs:
            self.end(ref.name)
        for name in decision.expire_jobs:
            self.jobs[name]["spec"]["ttlSecondsAfterFinished"] = 3600
        if decision.start:
            self.started.append(decision.start)
            self.restarted = False
            made = self.jobs[decision.start.name] = job(decision.start, now=self.now)
            if queue := kueue.labels(self.body, {}):
                made["metadata"] |= {"labels": queue}
                made["metadata"]["annotations"][names.ANNOTATION_QUEUE] = kueue.asked(queue)
                made["spec"]["suspend"] = True
        return decision

    def settle(self, most: int = 12) -> case.Decision:
        """Steps until one changes nothing."""
        for _ in range(most):
            before = copy.deepcopy((self.body, self.jobs, self.pods))
            decision = self.step()
            if (self.body, self.jobs, self.pods) == before:
                return decision
        raise AssertionError("it never comes to rest")

    def end(self, name: str) -> None:
        """The Job and its pods go."""
        uid = self.jobs.pop(name)["metadata"]["uid"]
        for key, body in list(self.pods.items()):
            if body["metadata"]["ownerReferences"][0]["uid"] == uid:
                del self.pods[key]

    def pod(self, *statuses: Body, **status: Any) -> Body:
        """The current Job's pod gets these container statuses."""
        of = self.jobs[self.current["job"]]
        made = pod(of, now=self.now, containerStatuses=list(statuses), **status)
        self.pods[made["metadata"]["name"]] = made
        return made

    def finish(self, *, phase: str = "Succeeded") -> None:
        """The Job controller has noticed that the pod has ended."""
        for body in self.pods.values():
            body["status"]["phase"] = phase
        for body in self.jobs.values():
            kind = "Complete" if phase == "Succeeded" else "Failed"
            body["status"] = {"conditions": [{"type": kind, "status": "True"}]}

    def edit(self, **spec: Any) -> None:
        """A person changes the spec."""
        meta = {**self.body["metadata"], "generation": self.body["metadata"]["generation"] + 1}
        self.body = {**self.body, "metadata": meta, "spec": {**self.body["spec"], **spec}}

    def annotate(self, name: str, value: str) -> None:
        meta = {**self.body["metadata"]}
        meta["annotations"] = {**(meta.get("annotations") or {}), name: value}
        self.body = {**self.body, "metadata": meta}

    def succeed(self, said: contract.BuildResult | None = None) -> None:
        """From wherever it stands, the build runs and ends well."""
        self.settle()
        self.pod(ended(message=said or result()))
        self.finish()
        self.settle()

    @property
    def status(self) -> Body:
        return dict(self.body["status"])

    @property
    def current(self) -> Body:
        return dict(self.status["current"])

    def condition(self, kind: str) -> tuple[str, str] | None:
        """(status, reason) of a condition, None if it is absent."""
        found = conditions.find(self.status.get("conditions"), kind)
        return (found["status"], found["reason"]) if found else None

    def message(self, kind: str = "Ready") -> str:
        found = conditions.find(self.status.get("conditions"), kind)
        return str(found["message"]) if found else ""


_DEFAULTS: Mapping[type, Any] = {
    questions.ConfigMaps: lambda asked: dict.fromkeys(asked.names),
    questions.Commit: questions.Resolved(COMMIT, "refs/heads/main"),
    questions.BaseImages: bases.Seen(),
    questions.Ahead: None,
    questions.Slot: None,
    questions.Rivals: (),
    questions.Runs: False,
    questions.UserNamespaces: True,
    questions.ImageVolumes: True,
    questions.Admission: None,
    questions.Events: (),
    questions.Workloads: (),
    questions.Published: True,
    questions.Tag: None,
    questions.LostResult: None,
}
Answer = Callable[[Any], Any]
KubeObject = kube.Object
