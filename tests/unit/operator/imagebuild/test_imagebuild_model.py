"""Whatever happens to an ImageBuild, in any order: what its status says is true, and in the end its image is built."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import case, events, questions, retry, state, transitions
from support import imagebuilds as ib
from support import restless
from support.restless import BASES, COMMITS, Made, Restless

EFFORT: Final = int(os.environ.get("STRATA_EFFORT") or 1)
HOUR: Final = 3600.0
FAILURES: Final = tuple(
    contract.Failure(reason, "so it is")
    for reason in (
        "RunFailed",
        "OutOfMemory",
        "BaseImageNotFound",
        "PushDenied",
        "SourceAuthFailed",
        "InfrastructureFailed",
        "RegistryUnavailable",
    )
)
SOURCES: Final = (
    contract.Failure("SourceUnavailable", "it does not answer", retryable=True),
    contract.Failure("SourceNotFound", "no such repository"),
    questions.Later(30.0, "the host is away"),
    questions.Unseen("it may not be read"),
)
REFUSALS: Final = tuple(
    contract.Failure(reason, "so it is") for reason in ("QuotaExceeded", "PodRejected", "InfrastructureFailed")
)
AWAY: Final = contract.Failure("RegistryUnavailable", "it does not answer", retryable=True)
DENIED: Final = contract.Failure("PushDenied", "it is read-only")
MISSING: Final = contract.Failure("ReferenceNotFound", "Secret login does not exist")
GIT: Final = {"git": {"url": "https://git.example/a.git", "revision": "main"}}
#: Changes of the spec: of what counts for the image, of what does not, and of what starts builds.
EDITS: Final[tuple[dict[str, Any], ...]] = (
    {"labels": {"v": "1"}}, {"labels": {"v": "2"}}, {"target": "other"}, {"output": {"registry": {"name": "spare"}}},
    {"output": {"registry": {"name": "main"}}}, {"source": GIT}, {"source": {"inline": {"a": "1"}}, "triggers": {}},
    {"source": {"git": GIT["git"] | {"revision": COMMITS[0]}}},
    {"output": {"registry": {"name": "main"}, "tags": ["latest", "{build}"]}}, {"timeout": "30m"}, {"timeout": "soon"},
    {"timeout": "1h"}, {"retries": 0}, {"retries": 2}, {"concurrency": "Queue"}, {"concurrency": "Supersede"},
    {"source": GIT, "triggers": {"git": {"pollInterval": "5m"}, "baseImages": {"pollInterval": "1h"}}},
    {"triggers": {"schedule": {"cron": "0 * * * *"}}}, {"triggers": {"baseImages": {"pollInterval": "1h"}}},
    {"triggers": {"schedule": {"cron": "0 3 * * *", "missed": "Skip"}}}, {"triggers": {}},
)  # fmt: skip
ASKED: Final = frozenset({"Rebuild", "NoCache", "Scheduled"})
STEPS: Final = (1.0, 12.0, 70.0, 400.0, 2000.0, 3 * HOUR, 7 * HOUR, 26 * HOUR)
#: What is outside, as fields of the world.
OUTSIDE: Final[Mapping[str, Mapping[str, Any]]] = {
    "the Registry is gone": {"registries": {"main": None, "spare": True}},
    "the Registry is not ready": {"registries": {"main": False, "spare": False}},
    "the other Registry is gone": {"registries": {"main": True, "spare": None}},
    "Registries are ready": {"registries": {"main": True, "spare": True}},
    "the registry does not answer": {"away": AWAY},
    "tags are refused": {"untagged": DENIED},
    "tags cannot be written": {"untagged": AWAY},
    "the registry answers": {"away": None, "untagged": None},
    "all images vanish": {"held": set()},
    "the ConfigMap is gone": {"files": None},
    "the ConfigMap is as it was": {"files": {"version": "1"}},
    "the ConfigMap is another one": {"files": {"version": "2"}},
    "the Secret is gone": {"secrets": MISSING},
    "the Secret is there": {"secrets": None},
    "there is no place": {"standing": restless.QUEUED},
    "there is a place": {"standing": None},
    "builds are paused": {"paused": "the cluster is paused"},
    "builds go on": {"paused": ""},
    "no quota is left": {"refusal": REFUSALS[0]},
    "no pod is admitted": {"refusal": REFUSALS[1]},
    "no pod can be made": {"refusal": REFUSALS[2]},
    "pods are admitted": {"refusal": None},
}
#: How a pod can end, beside what it says itself.
POD_ENDS: Final[Mapping[str, Callable[[Restless], None]]] = {
    "vanishes": Restless.vanishes,
    "vanishes when it has pushed": Restless.vanishes_late,
    "is evicted for its own use": lambda world: world.evicted("exceeded its local ephemeral storage limit"),
    "is evicted for the node's sake": lambda world: world.evicted("The node was low on resource: memory"),
    "is disrupted": Restless.disrupted,
    "needs a sandbox": Restless.needs_a_sandbox,
    "its Job is deleted": Restless.job_is_deleted,
}
LOOKS: Final = strategies.sampled_from((0, 1, 2, 2, 2))
_CRD: Final = Path(__file__).parents[4] / "crds" / "imagebuilds.strata.build.yaml"


def _closed(schema: Any) -> Any:
    """The schema, which takes no fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(one) for name, one in schema.items()}
    return found | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else found


SCHEMA: Final = jsonschema.Draft202012Validator(
    _closed(
        yaml.safe_load(_CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    )
)


class AnyLife(RuleBasedStateMachine):
    """People, clocks, clusters, registries and sources do what they want; the operator looks when it comes to it."""

    @initialize(
        spec=strategies.sets(strategies.sampled_from(range(len(EDITS))), max_size=4), files=strategies.booleans()
    )
    def begin(self, spec: set[int], files: bool) -> None:
        found: dict[str, Any] = {"source": GIT, "secrets": [{"id": "s", "secretRef": {"name": "login", "key": "k"}}]}
        if files:
            reference = {"configMapKeyRef": {"name": "versions", "key": "version"}}
            found["args"] = [{"name": "V", "valueFrom": reference}]
        for n in sorted(spec):
            found |= EDITS[n]
        self.world = Restless(body=ib.build(**copy.deepcopy(found)))
        self.news = self.touched = self.asked = self.uids = 0
        self.forget(repeated=0)
        self.rest()
        self.backs_up()

    def forget(self, repeated: int) -> None:
        """The object is another one, or has forgotten what it was; so many builds that were asked for may be repeated."""
        self.first_news: dict[int, int] = {}  # number of a build -> the news that there were when it began
        self.started: list[tuple[int, int]] = []
        self.success: tuple[Made, int] | None = None  # the last one, and what had touched the image until then
        self.scheduled = ""  # the time of the last build that the clock has asked for
        self.owed = self.served = -1  # how many had started when one was asked for; which of them the last success was
        self.requests, self.answered = repeated, 0

    # -- people --

    @rule(n=strategies.sampled_from(range(len(EDITS))), looks=LOOKS)
    def edits(self, n: int, looks: int) -> None:
        self.news += 1
        self.world.change(**copy.deepcopy(EDITS[n]))
        self.looks(looks)

    @rule(looks=LOOKS)
    def takes_back(self, looks: int) -> None:
        """The spec is that of the last success again, or of the backup."""
        self.news += 1
        made = self.success[0].spec if self.success else self.backup["spec"]
        self.world.body["spec"] = copy.deepcopy(made)
        self.world.edit()
        self.looks(looks)

    @rule(suspend=strategies.booleans(), looks=LOOKS)
    def suspends(self, suspend: bool, looks: int) -> None:
        self.news += 1
        before = self.world.condition("Ready") if looks == 2 and self.rest() else None
        self.world.change(suspend=suspend)
        self.looks(looks)
        if suspend and before and before[0] == "True":
            assert self.world.condition("Ready") == before, "what is suspended stays as it was"

    @rule(
        name=strategies.sampled_from((names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE)),
        looks=LOOKS,
    )
    def asks(self, name: str, looks: int) -> None:
        self.news += 1
        self.asked += 1
        self.requests += 1
        self.owed = len(self.world.started)
        self.world.annotate(name, str(self.asked))
        self.looks(looks)

    @rule(name=strategies.sampled_from((names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE)), looks=LOOKS)
    def takes_away(self, name: str, looks: int) -> None:
        """The annotation is not there any more: what it asked for, and nobody has looked at, is wanted no more."""
        self.rest()
        self.owed = -1
        self.world.annotate(name, "")
        self.looks(looks)

    @rule(looks=LOOKS)
    def cancels(self, looks: int) -> None:
        self.asked += 1
        self.world.annotate(names.ANNOTATION_CANCEL, str(self.asked))
        self.looks(looks)

    @rule()
    def backs_up(self) -> None:
        self.backup = copy.deepcopy(self.world.body)

    @rule(how=strategies.sampled_from(("with its status", "without", "only the status is lost")), looks=LOOKS)
    def restores(self, how: str, looks: int) -> None:
        self.touch()
        self.uids += 1
        uid = f"{self.uids:08}-2222-3333-4444-555555555555"
        if how == "only the status is lost":
            self.world.lose_status()
        else:
            self.world.restore(self.backup, uid, with_status=how == "with its status")
        self.forget(repeated=2)
        self.looks(looks)

    # -- time --

    @rule(seconds=strategies.sampled_from(STEPS), punctual=strategies.booleans())
    def passes(self, seconds: float, punctual: bool) -> None:
        self.news += self.world.has_to_tell
        self.wait(seconds, punctual=punctual)

    @rule(seconds=strategies.sampled_from(STEPS), looks=LOOKS)
    def clock_steps_back(self, seconds: float, looks: int) -> None:
        self.news += self.world.has_to_tell
        self.world.set_back(seconds)
        self.looks(looks)

    @rule(between=strategies.booleans())
    def operator_dies(self, between: bool) -> None:
        if between:
            self.world.step_and_die()
            self.success = None  # it may have been told of
        self.world.restart()
        self.rest()

    # -- the cluster --

    @rule(looks=LOOKS)
    def pod_runs(self, looks: int) -> None:
        self.world.run()
        self.looks(looks)

    @rule()
    def pod_succeeds(self) -> None:
        self.rest()
        self.world.succeeds()
        self.rest()

    @rule(looks=LOOKS)
    def all_is_well(self, looks: int) -> None:
        """As it mostly is: else all that comes would happen to what waits."""
        self.world.heal()
        self.looks(looks)
        self.pod_succeeds()

    @rule(failure=strategies.sampled_from(FAILURES), base=strategies.sampled_from((None, "", *BASES)), looks=LOOKS)
    def pod_fails(self, failure: contract.Failure, base: str | None, looks: int) -> None:
        """It may tell of the base image that it has met, or has not found."""
        self.rest()
        told = () if base is None else (contract.BaseImage("debian", base),)
        self.world.pod_says(dataclasses.replace(failure, base_images=told), 1)
        self.looks(looks)

    @rule(how=strategies.sampled_from(sorted(POD_ENDS)), looks=LOOKS)
    def pod_ends(self, how: str, looks: int) -> None:
        POD_ENDS[how](self.world)
        self.looks(looks)

    # -- outside --

    @rule(what=strategies.sampled_from(sorted(OUTSIDE)), looks=LOOKS)
    def outside(self, what: str, looks: int) -> None:
        self.touch()
        for name, value in OUTSIDE[what].items():
            setattr(self.world, name, copy.deepcopy(value))
        self.looks(looks)

    @rule(commit=strategies.sampled_from(COMMITS), problem=strategies.sampled_from((None, None, *SOURCES)), looks=LOOKS)
    def source_moves(self, commit: str, problem: Any, looks: int) -> None:
        self.touch()
        self.world.commit, self.world.source = commit, problem
        self.world.poll()
        self.looks(looks)

    @rule(base=strategies.sampled_from(BASES), seen=strategies.booleans(), looks=LOOKS)
    def base_moves(self, base: str, seen: bool, looks: int) -> None:
        self.touch()
        self.world.base = base
        self.world.base_seen = base if seen else self.world.base_seen
        self.looks(looks)

    # -- looks --

    def touch(self) -> None:
        """Something that may want another image has happened."""
        self.news += 1
        self.touched += 1

    def looks(self, count: int) -> None:
        """None, one, or as many as it takes."""
        if count == 1:
            self.step()
        elif count:
            self.rest()

    def step(self) -> case.Decision:
        world = self.world
        before, restarted = copy.deepcopy(world.status), world.restarted
        if restarted:
            self.forget_unseen(before.get("current") or {})
        decision = world.step()
        if decision.start:
            self.has_started(decision.start, restarted=restarted)
        self.check_numbers(before)
        self.check_conditions()
        self.check_image(before)
        self.check_cancelled(before)
        self.check_told(before, decision)
        return decision

    def forget_unseen(self, current: ib.Body) -> None:
        """An attempt whose Job somebody has deleted before it was seen to run passes for not begun after a restart."""
        if current.get("phase") == state.STARTING and current.get("job") not in self.world.jobs:
            attempt = current["number"], current["attempt"]
            self.started = [one for one in self.started if one != attempt]

    def rest(self) -> case.Decision:
        """Looks at one moment come to an end, and what is said then is whole."""
        for _ in range(12):
            before = copy.deepcopy((self.world.body, self.world.jobs, self.world.pods))
            decision = self.step()
            if (self.world.body, self.world.jobs, self.world.pods) == before:
                self.check_rest(decision)
                return decision
        raise AssertionError("it never comes to rest")

    def wait(self, seconds: float, *, punctual: bool = True) -> None:
        """Time passes, and it is looked at when it wants to be, the first forty times."""
        end, begin = self.world.now + seconds, self.world.now
        for looked in range(40 if punctual else 0):
            decision = self.rest()
            if decision.look_again is None or self.world.now + decision.look_again >= end:
                break
            assert looked < 30 or self.world.now - begin > looked, "it is looked at without a pause"
            self.world.pass_time(decision.look_again)
        self.world.pass_time(end - self.world.now)
        self.rest()

    # -- what always holds --

    def has_started(self, planned: questions.Job, *, restarted: bool) -> None:
        world = self.world
        mine = {pod["metadata"]["name"] for pod in world.pods_of(world.jobs[planned.name])}
        others = [pod["metadata"]["name"] for pod in world.running_pods]
        assert set(others) <= mine, "another pod of it runs"
        assert not [job for job in world.running_jobs if job["metadata"]["name"] != planned.name]
        made = [one.job for one in world.made.values() if one.life == world.life]
        named = planned.number, planned.attempt, planned.isolation
        same = [one for one in made if (one.number, one.attempt, one.isolation) == named]
        unknown = restarted  # whether there was a Job that somebody has deleted
        assert unknown or len(same) <= 1, "two Jobs of one attempt"
        assert not world.wanted.suspend
        self.started.append((planned.number, planned.attempt))

    def check_numbers(self, before: ib.Body) -> None:
        after = self.world.status
        number = (after.get("current") or {}).get("number", 0)
        assert number >= (before.get("current") or {}).get("number", 0)
        self.first_news.setdefault(number, self.news)
        numbers = [build["number"] for build in after.get("builds", ())]
        assert numbers == sorted(set(numbers), reverse=True)
        assert len(numbers) <= 10
        assert number >= max(numbers, default=0)

    def check_conditions(self) -> None:
        world = self.world
        found = {c["type"]: c["status"] for c in world.status["conditions"]}
        assert len(found) == len(world.status["conditions"])
        assert world.status["observedGeneration"] == world.generation
        assert {c["observedGeneration"] for c in world.status["conditions"]} == {world.generation}
        working, stalled, suspended = (found.get(kind) for kind in ("Reconciling", "Stalled", "Suspended"))
        assert {working, stalled, suspended} <= {"True", None}
        assert None in (working, stalled), found
        if suspended:
            assert {working, stalled} == {None}, found
        else:
            assert found["Ready"] == ("Unknown" if working else "False" if stalled else "True"), found

    def check_image(self, before: ib.Body) -> None:
        world, said = self.world, self.world.status
        if conditions.is_true(said["conditions"], conditions.READY):
            made = world.digests[said["digest"]]
            assert made.fields == world.fields, "Ready of another spec"
            assert said["lastSuccess"]["digest"] == said["digest"]
            if not world.wanted.suspend:
                assert said["lastSuccess"]["generation"] == world.generation
        if said.get("lastSuccess", {}).get("number") != before.get("lastSuccess", {}).get("number"):
            self.has_succeeded(world.digests[said["digest"]])

    def has_succeeded(self, made: Made) -> None:
        current, (last, touched) = self.world.current, self.success or (None, -1)
        assert made.job.number == self.world.status["lastSuccess"]["number"]
        known = made.job.commit or not self.world.wanted.git  # what only the pod can see may have moved
        if known and last and touched == self.touched and last.life == made.life and current["reason"] not in ASKED:
            assert (last.job.inputs, last.base) != (made.job.inputs, made.base), (
                f"built again for nothing: {current['reason']}"
            )
        self.world.base_seen = ""  # bases are looked at anew once a build has ended
        self.success = made, self.touched
        self.served = max(n for n, job in enumerate(self.world.started) if job.name == made.job.name)
        self.answered += current["reason"] in ("Rebuild", "NoCache")
        assert self.answered <= self.requests, "more builds than were asked for"
        if current["reason"] == "Scheduled":
            assert self.world.status["lastScheduleTime"] != self.scheduled, "a time is built for once"
            self.scheduled = self.world.status["lastScheduleTime"]

    def check_cancelled(self, before: ib.Body) -> None:
        was, now = before.get("current") or {}, self.world.status.get("current") or {}
        if now.get("phase") == state.CANCELLED:
            self.owed = -1
        if was.get("phase") == state.CANCELLED and now.get("phase") in state.OPEN:
            lost = now["reason"] == "ImageLost" != was["reason"]
            assert lost or self.news > self.first_news.get(was["number"], -1), "nobody has asked for it"

    def check_told(self, before: ib.Body, decision: case.Decision) -> None:
        """What is counted and told is what the status says."""
        after = self.world.status
        news = after.get("lastSuccess", {}).get("number") != before.get("lastSuccess", {}).get("number")
        assert [one.result for one in decision.ended].count("succeeded") == news
        event = events.transition(before, after, names.Key("team", "web"))
        assert event is None or 0 < len(event.note.encode()) <= 1024
        told = [notice.id for notice in transitions.between(self.world.body, before, after)]
        assert len(told) == len(set(told))

    def check_rest(self, decision: case.Decision) -> None:
        world, said = self.world, self.world.status
        assert decision.look_again is None or decision.look_again > 0, decision.look_again
        assert (decision.status, decision.ended, decision.end_jobs, decision.start) == (None, (), (), None)
        problems = [problem.message for problem in SCHEMA.iter_errors(said)]
        assert problems == []
        current = said.get("current") or {}
        is_open, kinds = current.get("phase") in state.OPEN, {c["type"] for c in said["conditions"]}
        assert is_open == bool(kinds & {"Building"}) or (is_open and "Stalled" in kinds), (current, kinds)
        assert len(world.running_jobs) <= 1
        assert bool(world.running_jobs) <= (current.get("phase") in state.ACTIVE), current
        assert decision.active <= (current.get("phase") in state.ACTIVE)
        assert not decision.active or 0 < (decision.look_again or HOUR) <= 60, "a pod is looked at"
        if world.body["spec"].get("suspend") and "Suspended" in kinds:
            assert not is_open
            assert not world.running_jobs
        self.check_attempts(said, current)

    def check_attempts(self, said: ib.Body, current: ib.Body) -> None:
        """Of the last builds each attempt is told of."""
        told = {
            (build["number"], one["attempt"]) for build in said.get("builds", ()) for one in build.get("attempts", ())
        }
        told |= {(current.get("number"), one["attempt"]) for one in current.get("attempts", ())}
        if current.get("phase") in state.ACTIVE:
            told.add((current.get("number"), current.get("attempt")))
        missing = {one for one in self.started if one[0] > current.get("number", 0) - 5} - told
        assert not missing, (missing, told)

    # -- in the end --

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.heal()
        invalid = {"timeout": "1h"} if self.world.body["spec"].get("timeout") == "soon" else {}
        suspended = {"suspend": False} if self.world.body["spec"].get("suspend") else {}
        self.news += 1
        self.world.change(**invalid, **suspended)
        self.live()
        if self.rightly_given_up():
            self.asks(names.ANNOTATION_REBUILD, 2)
            self.live()
        self.check_end()

    def live(self) -> None:
        """A day and more in which all goes well."""
        quiet = 0
        for turn in range(24):
            self.rest()
            if self.world.running_jobs:
                self.world.succeeds()
                continue
            quiet = 0 if restless.is_open(self.world) else quiet + 1
            if quiet > 6:
                break
            self.news += self.world.has_to_tell
            self.wait(3 * HOUR if turn % 3 else 400.0, punctual=turn % 3 == 0)
        while self.world.running_jobs:
            self.world.succeeds()
            self.rest()

    def rightly_given_up(self) -> bool:
        """Whether the present spec has failed for good, or was cancelled, so that somebody must ask."""
        current = self.world.current
        if current["phase"] not in (state.FAILED, state.CANCELLED):
            return False
        if conditions.is_true(self.world.status["conditions"], conditions.READY):
            return True  # of a build that failed nothing is left to do where its image is there
        if current["phase"] == state.FAILED:
            assert retry.class_of(current["result"]) is not retry.Class.CHECKED, current
        assert current["fields"] == self.world.fields
        return True

    def check_end(self) -> None:
        world, said = self.world, self.world.status
        assert world.condition("Ready") in (("True", "Succeeded"), ("True", "Unchanged")), said
        git = world.wanted.git
        there = git.revision if git and git.revision in COMMITS else world.commit
        commits = [there] if world.wanted.poll_interval else [said.get("source", {}).get("commit", ""), ""]
        assert said["inputs"] in [world.inputs(commit if git else "") for commit in commits]
        assert (world.registry_name, said["digest"]) in world.held, "it is gone"
        if world.wanted.base_interval:
            assert [base["digest"] for base in said["baseImages"]] == [world.base]
        notes = world.body["metadata"].get("annotations") or {}
        for name, handled in (
            (names.ANNOTATION_REBUILD, "lastHandledRebuild"),
            (names.ANNOTATION_NO_CACHE, "lastHandledNoCache"),
            (names.ANNOTATION_CANCEL, "lastHandledCancel"),
        ):
            assert notes.get(name, "") in ("", said.get(handled)), name
        assert self.served >= self.owed, "what was asked for was not built"
        if world.wanted.schedule:
            assert conditions.unix(said["nextScheduleTime"]) > world.now


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(
    max_examples=100 * EFFORT,
    stateful_step_count=25,
    deadline=None,
    derandomize=EFFORT == 1,
    phases=[Phase.generate],  # to make a life shorter takes minutes
    suppress_health_check=list(HealthCheck),
)
