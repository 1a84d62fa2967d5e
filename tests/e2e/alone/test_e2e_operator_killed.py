"""The operator killed at every stage of a build, and the spec edited before it is back.

A stage is held by what makes it last: a write that the API server refuses, a registry that the operator cannot reach, a
step that waits. Then the operator is stopped by a signal, the edit is made, what held the stage is let go, and the process
is killed: what comes after it finds exactly what that moment left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from support import e2e, faults, gates, waiting

HELD = "held"  # a Registry to which the operator's way is cut
WAITING = f"{waiting.dockerfile()}LABEL version=1\n"
TAGS = ["latest", "n{build}"]


@dataclass(frozen=True)
class Look:
    """One build at one moment."""

    status: e2e.Body
    jobs: tuple[str, ...]
    phases: tuple[str, ...]
    tags: e2e.Body

    @property
    def phase(self) -> str:
        return str(self.status.get("current", {}).get("phase", ""))


@dataclass(frozen=True)
class Stage:
    """`holds` is what the API server refuses: resource -> condition in CEL about an object of `mine`."""

    reached: Callable[[Look], Any]
    holds: tuple[str, str] = ("", "")
    registry: str = e2e.REGISTRY
    dockerfile: str = ""
    edited_before: bool = False
    attempted: bool = True  # build 1 has had an attempt


STATUS = "imagebuilds/status"
STAGES = {
    "applied": Stage(lambda b: not b.status.get("current"), attempted=False),
    "before-the-job": Stage(
        lambda b: b.phase == "Starting" and not b.jobs, ("jobs", "request.operation == 'CREATE' && !request.dryRun")
    ),
    "after-the-job": Stage(lambda b: b.phase == "Starting" and b.jobs, (STATUS, "!(PHASE in ['Pending', 'Starting'])")),
    "during": Stage(lambda b: b.phase == "Running" and b.phases == ("Running",), dockerfile=WAITING),
    "superseded": Stage(
        lambda b: b.status.get("current", {}).get("number") == 2 and b.jobs,
        ("jobs", "request.operation == 'DELETE'"),
        dockerfile=WAITING,
        edited_before=True,
    ),
    "before-the-tag": Stage(lambda b: b.phases == ("Succeeded",) and not b.tags, registry=HELD),
    "before-the-status": Stage(
        lambda b: b.phase in ("Starting", "Running") and len(b.tags) == 2, (STATUS, "PHASE == 'Succeeded'")
    ),
    "after-the-status": Stage(
        lambda b: b.phase == "Succeeded",
        ("jobs", "request.operation == 'UPDATE' && has(object.spec.ttlSecondsAfterFinished)"),
    ),
}
EDITS = ("none", "dockerfile", "tags", "suspend", "recreate") if faults.LONG else ("none", "dockerfile")


def build(name: str, version: int, tags: list[str], **spec: Any) -> e2e.Body:
    stage = STAGES[name.rpartition("-")[0]]
    dockerfile = stage.dockerfile if version == 1 else ""
    dockerfile = dockerfile or f"FROM busybox:1.36\nLABEL version={version}\nCOPY file /file\n"
    output = {"registry": {"name": stage.registry}, "tags": tags}
    return e2e.image_build(name, dockerfile, output=output, source={"inline": {"file": f"{name} {version}"}}, **spec)


def gate(name: str, stage: Stage) -> str:
    """The condition of `stage` for the Jobs, or the status, of one build."""
    resource, condition = stage.holds
    if resource == STATUS:
        phase = "object.status.current.phase"
        return f"object.metadata.name == '{name}' && has({phase}) && {condition.replace('PHASE', phase)}"
    job = "(request.operation == 'DELETE' ? oldObject : object)"
    return f"{job}.metadata.ownerReferences[0].name == '{name}' && {condition}"


class Round:
    """One kill of the operator with a build at each stage, and `edit` made before it is back."""

    def __init__(self, home: e2e.Namespace, edit: str) -> None:
        self.home = home
        self.edit = edit
        self.names = {stage: f"{stage}-{edit}" for stage in STAGES}
        self.at_kill: dict[str, Look] = {}
        self.at_end: dict[str, Look] = {}

    def look(self, *stages: str) -> dict[str, Look]:
        bodies = {b["metadata"]["name"]: b for b in self.home.all("imagebuilds")}
        jobs, pods = self.home.all("jobs"), self.home.all("pods", "strata.build/imagebuild-uid")
        tags = self._tags(*stages)
        return {
            stage: Look(
                bodies.get(name, {}).get("status", {}),
                tuple(j["metadata"]["name"] for j in jobs if _of(j, name)),
                tuple(p["status"]["phase"] for p in pods if _of(p, name)),
                tags[stage],
            )
            for stage, name in self.names.items()
            if stage in stages
        }

    def _tags(self, *stages: str) -> dict[str, e2e.Body]:
        found: dict[str, e2e.Body] = {}
        for registry in (e2e.REGISTRY, HELD):
            asked = {self.names[s]: s for s in stages if STAGES[s].registry == registry}
            answer = self.home.tags(*asked, registry=registry) if asked else {}
            found |= {asked[name]: tags for name, tags in answer.items()}
        return found

    def run(self, operator: faults.Operator) -> None:
        with contextlib.ExitStack() as held:
            held.enter_context(gates.refused(self.home, self._gates()))
            held.enter_context(faults.cut(self.home.k.where, _no_way(self.home, operator)))
            self._apply(*(stage for stage in STAGES if stage != "applied"))
            self._edit_before()
            self._reach(*(stage for stage in STAGES if stage != "applied"))
            with operator.frozen():
                self._apply("applied")
                self.at_kill = self.look(*STAGES)
                for name in self.names.values():
                    self._edit(name)
                held.close()
        self.home.until("the end of all builds", self._settled, seconds=180)
        self.at_end = self.look(*STAGES)

    def _settled(self) -> bool:
        waiting.let_go(self.home, *(name for stage, name in self.names.items() if STAGES[stage].dockerfile))
        bodies = [b for b in self.home.all("imagebuilds") if b["metadata"]["name"] in self.names.values()]
        return all(
            b["status"]["observedGeneration"] == b["metadata"]["generation"]
            and b["status"].get("current", {}).get("phase") not in ("Pending", "Starting", "Running", "Retrying")
            for b in bodies
        )

    def _gates(self) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for stage, name in self.names.items():
            if resource := STAGES[stage].holds[0]:
                found.setdefault(resource, []).append(f"({gate(name, STAGES[stage])})")
        return {resource: " || ".join(conditions) for resource, conditions in found.items()}

    def _apply(self, *stages: str) -> None:
        bodies = [build(self.names[stage], 1, TAGS) for stage in stages]
        self.home.apply({"apiVersion": "v1", "kind": "List", "items": bodies})

    def _edit_before(self) -> None:
        for stage, name in self.names.items():
            if STAGES[stage].edited_before:
                self.home.until("a pod", lambda stage=stage: self.look(stage)[stage].phases == ("Running",), name=name)
                self.home.apply(build(name, 2, TAGS))

    def _reach(self, *stages: str) -> None:
        left = set(stages)

        def all_reached() -> bool:
            left.difference_update([s for s, seen in self.look(*left).items() if STAGES[s].reached(seen)])
            return not left

        try:
            self.home.until("all stages", all_reached, seconds=90)
        except AssertionError as e:
            raise AssertionError(f"not reached: {left}: {self.look(*left)}") from e

    def _edit(self, name: str) -> None:
        version = 3
        if self.edit == "dockerfile":
            self.home.apply(build(name, version, TAGS))
        elif self.edit == "recreate":
            self.home("delete", "imagebuild", name, "--cascade=background")
            self.home.apply(build(name, version, TAGS))
        elif self.edit == "tags":
            self.home("patch", "imagebuild", name, "--type=json", "-p", _ADD_TAG)
        elif self.edit == "suspend":
            self.home("patch", "imagebuild", name, "--type=merge", "-p", '{"spec": {"suspend": true}}')


_ADD_TAG = '[{"op": "add", "path": "/spec/output/tags/-", "value": "extra"}]'


def _of(body: e2e.Body, name: str) -> bool:
    return bool(body["metadata"].get("annotations", {}).get("strata.build/imagebuild") == name)


def _no_way(home: e2e.Namespace, operator: faults.Operator) -> str:
    """From the operator's pod to the Registry `held`."""
    service = home.get("service", f"strata-{HELD}")["spec"]["clusterIP"]
    return f"ip saddr {operator.pod()['status']['podIP']} ip daddr {service} drop"


@pytest.fixture(scope="module")
def rounds(home, operator, jobs) -> dict[str, Round]:
    home.apply(e2e.registry(0, HELD, managed=e2e.HIDDEN))
    home.wait(HELD, kind="registry")
    found = {edit: Round(home, edit) for edit in EDITS}
    for one in found.values():
        one.run(operator)
    return found


BUILT = [(edit, stage) for edit in EDITS if edit != "suspend" for stage in STAGES]


@pytest.mark.parametrize(("edit", "stage"), [(edit, stage) for edit in EDITS for stage in STAGES])
def test_the_stage_was_that_one(rounds, edit, stage):
    assert STAGES[stage].reached(rounds[edit].at_kill[stage])


@pytest.mark.parametrize(("edit", "stage"), BUILT)
def test_what_was_wanted_last_is_built_once(rounds, home, jobs, edit, stage):
    name = f"{stage}-{edit}"
    status = home.wait(name)
    assert {key: len(made) for key, made in jobs.attempts(name).items() if len(made) > 1} == {}
    assert [(b["number"], b["result"]) for b in status["builds"]] == history(stage, edit)
    assert status["current"]["attempt"] == 1
    assert status["lastSuccess"]["number"] == status["current"]["number"] == status["builds"][0]["number"]


@pytest.mark.parametrize(("edit", "stage"), BUILT)
def test_tags_are_of_the_build_that_is_current(rounds, home, edit, stage):
    name = f"{stage}-{edit}"
    status = home.wait(name)
    version = 3 if edit in ("dockerfile", "recreate") else 2 if stage == "superseded" else 1
    image = {"digest": status["digest"], "labels": {"version": str(version)}}
    written = ["latest", f"n{status['current']['number']}", *(["extra"] if edit == "tags" else [])]
    assert status["tags"] == written
    assert rounds[edit].at_end[stage].tags == rounds[edit].at_kill[stage].tags | dict.fromkeys(written, image)


@pytest.mark.skipif("suspend" not in EDITS, reason="`make test-faults` suspends, recreates and gives tags, too")
@pytest.mark.parametrize("stage", STAGES)
def test_what_was_suspended_ends_without_a_tag(rounds, home, jobs, stage):
    name = f"{stage}-suspend"
    status = home.wait(name, "Suspended")
    home.until("the end of its pods", lambda: {p["status"]["phase"] for p in home.pods(name)} <= ENDED, name=name)
    assert all(len(made) == 1 for made in jobs.attempts(name).values())
    assert [(b["number"], b["result"]) for b in status.get("builds", [])] == history(stage, "suspend")
    assert rounds["suspend"].at_end[stage].tags == rounds["suspend"].at_kill[stage].tags


@pytest.mark.parametrize(("edit", "stage"), BUILT)
def test_jobs_whose_result_is_in_the_status_get_an_end(rounds, home, edit, stage):
    name = f"{stage}-{edit}"
    home.wait(name)
    home.until("an end of its Jobs", lambda: all(map(_expires, _jobs(home, name))), name=name)


ENDED = {"Succeeded", "Failed"}


def _jobs(home: e2e.Namespace, name: str) -> list[e2e.Body]:
    return [job for job in home.all("jobs") if _of(job, name)]


def _expires(job: e2e.Body) -> bool:
    return "ttlSecondsAfterFinished" in job["spec"] or "deletionTimestamp" in job["metadata"]


def history(stage: str, edit: str) -> list[tuple[int, str]]:
    """(number, result) of the builds in the status at the end, the newest first."""
    first = {"applied": "", "superseded": "Superseded", "after-the-status": "Succeeded"}.get(stage, "")
    if edit == "suspend":
        ended = [(1, first or "Suspended")]
        return [] if stage == "applied" else ended
    if edit == "recreate" or stage == "applied":
        return [(1, "Succeeded")]
    if edit == "dockerfile" or stage == "superseded":
        return [(2, "Succeeded"), (1, first or "Superseded")]
    return [(1, "Succeeded")]
