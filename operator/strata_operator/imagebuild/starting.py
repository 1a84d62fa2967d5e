"""The gates between the wish to build and a Job, in order; the first that is closed decides what is said. Pure.

A build that waits is Pending; nothing is made in the cluster before all gates are open.
"""

from __future__ import annotations

from strata_builder import contract, errors
from strata_operator import conditions, names
from strata_operator.imagebuild import (
    attempts,
    endings,
    isolation,
    podstatus,
    questions,
    queueing,
    retry,
    state,
    status,
    tags,
    verdicts,
)
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude, unfinished_jobs
from strata_operator.imagebuild.contents import Content
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.target import Target, not_ready
from strata_operator.imagebuild.triggers import bases

_SOON = 2.0
_AT_LENGTH = 300.0  # for what wakes whoever waits for it
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


def begin(case: Case, target: Target, content: Content) -> Steps[Decision]:
    """Take the current build, which is wanted and has no Job, through the gates."""
    current = case.current
    if current is None:
        raise ValueError("nothing is wanted")
    if current.phase == state.RETRYING and retry.waits(current.next_time, case.now, retry.LONGEST_RETRY):
        return _between(case)
    if not target.ready:
        return wait(case, not_ready(target))
    if refused := (yield from _refused(case, target, content)):
        return endings.fail(case, refused, ran=False)
    if unfinished_jobs(case.seen) or any(not podstatus.ended(pod) for pod in case.seen.pods):
        waiting = verdicts.Waiting("Building", "an earlier builder pod is ending")
        return wait(case, waiting, look_again=_SOON, clear=True)
    # Before it queues: what needs no pod to fail would else be told, queued and told again while others have the places.
    rungs = yield from _rungs(case)
    if isinstance(rungs, contract.Failure):
        return endings.fail(case, rungs, ran=False)
    if waiting_for := (yield from bases.behind(case)):
        return wait(case, waiting_for, look_again=_AT_LENGTH)
    if case.seen.paused:
        return wait(case, verdicts.Waiting("Paused", case.seen.paused))
    if case.seen.handed_over:
        return (yield from admitted(case, target, content, rungs, attempt=current.attempt + 1))
    since = current.queued_time or case.now
    standing = yield questions.Slot(queueing.rank(case.wanted.priority, since, case.seen.uid, current.reason))
    if standing:
        return _queue(case, target, standing)
    return (yield from admitted(case, target, content, rungs, attempt=current.attempt + 1))


def job(case: Case, target: Target, content: Content, rung: str, *, copied: bool = False) -> questions.Job:
    """The Job of the current build's attempt on a rung. Its name tells all of these apart."""
    current = case.current
    if current is None:
        raise ValueError("nothing is wanted")
    number, attempt = str(current.number), str(current.attempt)
    way = f"{rung}-copied" if copied else rung
    digest = names.short_hash(
        case.seen.uid, number, str(current.generation), content.inputs, "linux", attempt, way, length=8
    )
    name = names.derived("sib", case.seen.key.name, f"{number}-{attempt}-{digest}")
    return questions.Job(
        name=name,
        number=current.number,
        attempt=current.attempt,
        generation=current.generation,
        inputs=content.inputs,
        isolation=rung,
        repository=target.repository,
        commit=content.commit,
        ref=content.ref,
        no_cache=current.no_cache,
        args=content.args,
        copied=copied,
    )


def start(case: Case, target: Target, planned: questions.Job, *, because: str = "") -> Decision:
    """Write who is to run, then make its Job. `because` says why it takes the place of another one."""
    tag = attempts.log_tag(case.seen.uid)
    changed = case.change(
        phase=state.STARTING,
        job=planned.name,
        log=f"{target.view.push}/{target.repository}:{tag}" if case.wanted.keep_logs else "",
        isolation=planned.isolation,
        destination=target.destination,
        start_time=case.current.start_time if case.current and case.current.job and case.current.active else case.now,
        completion_time=None,
        next_time=None,
        checks=case.current.checks if case.current and case.current.job else 0,  # a gate that opens has healed
    )
    text = f"build {planned.number}, attempt {planned.attempt} is starting ({planned.isolation})"
    text += f": {because}" if because else _cause(case.current)
    return conclude(changed, progress(changed, "Building", text), start=planned, look_again=_SOON)


def candidates(case: Case, *, runs: bool | None) -> Steps[tuple[str, ...] | contract.Failure]:
    """The rungs to try, the best first; the nodes are asked only where it matters."""
    wanted = case.wanted
    able = wanted.isolation == "Auto" and runs is not False and (yield questions.UserNamespaces())
    return isolation.rungs(
        wanted.isolation,
        runs=runs,
        network=wanted.network,
        level=case.seen.pod_security,
        user_namespaces=bool(able),
    )


def admitted(
    case: Case, target: Target, content: Content, rungs: tuple[str, ...], *, attempt: int, because: str = ""
) -> Steps[Decision]:
    """Start `attempt` on the first rung that is admitted. Only Pod Security is a reason to try the next one."""
    refusal: contract.Failure | None = None
    trying = case.change(attempt=attempt)
    for rung in rungs:
        planned, answer = yield from _planned(trying, target, content, rung)
        if answer is None:
            return start(trying, target, planned, because=because)
        if isinstance(answer, questions.NameTaken):
            return _renumbered(case, answer)
        refusal = answer
        if refusal.reason != "PodRejected":
            break
    if refusal is None:
        raise ValueError("no rung to try")
    return endings.fail(case, refusal, ran=False)


def _planned(
    case: Case, target: Target, content: Content, rung: str
) -> Steps[tuple[questions.Job, contract.Failure | questions.NameTaken | None]]:
    """The Job of a rung, and why it cannot be made. What the builder is carried by shows only in place."""
    copied = rung == isolation.IN_PLACE and not (yield questions.ImageVolumes())
    planned = job(case, target, content, rung, copied=copied)
    answer = yield questions.Admission(planned)
    if isinstance(answer, questions.NoImageVolumes):
        yield questions.Remember(questions.ImageVolumes(), answer=False)
        planned = job(case, target, content, rung, copied=True)
        answer = yield questions.Admission(planned)
    return planned, answer


def _renumbered(case: Case, taken: questions.NameTaken) -> Decision:
    """The name is made of the number, among others: the next number has another one. Nothing of others is touched."""
    current = case.current
    number = current.number if current else 0
    changed = case.change(number=number + 1, attempt=0, phase=state.PENDING, job="")
    text = f"{taken.message}; the build goes on as number {number + 1}"
    return wait(changed, verdicts.Waiting("Building", text), look_again=_SOON, clear=True)


def _rungs(case: Case) -> Steps[tuple[str, ...] | contract.Failure]:
    runs = yield from known_runs(case)
    if isinstance(runs, contract.Failure):
        return runs
    return (yield from candidates(case, runs=runs))


def _refused(case: Case, target: Target, content: Content) -> Steps[contract.Failure | None]:
    """What would fail in any case: found out before anything is built."""
    try:
        wanted = tags.expand(case.wanted.tags, facts(case, content.commit, content.ref))
    except errors.InvalidSpec as e:
        unseen = not content.seen
        return None if unseen else isolation.failure(e)
    rivals = yield questions.Rivals(target.repository)
    if conflict := tags.conflict(wanted, rivals):
        return conflict
    missing: contract.Failure | None = None
    if case.wanted.secret_keys:
        missing = yield questions.Secrets(case.wanted.secret_keys)
    return missing


def facts(case: Case, commit: str, ref: str) -> tags.Facts:
    """What the placeholders of tags stand for."""
    git, current = case.wanted.git, case.current
    number = current.number if current else 1
    return tags.Facts(number, case.now, commit, ref, git.revision if git else "")


def known_runs(case: Case) -> Steps[bool | contract.Failure | None]:
    """Whether steps run: read from an inline Dockerfile, else as the last build reported, else not known."""
    if case.wanted.dockerfile_inline:
        answer: bool | contract.Failure = yield questions.Runs(case.wanted.target)
        return answer
    current, last = case.current, case.was.last_success
    if current and current.attempt and (current.isolation, current.result) == (isolation.LAYERS, "PodRejected"):
        return True  # a Layers pod of this very build found a RUN
    return False if last and last.isolation == isolation.LAYERS else None


def _cause(current: state.Current | None) -> str:
    return f": {current.cause}" if current and current.cause else ""


def _queue(case: Case, target: Target, standing: queueing.Standing) -> Decision:
    """The build waits for a place: which limit is reached, and how many are before it."""
    whose = {
        queueing.CLUSTER: f"{standing.most} builds run in the cluster",
        queueing.NAMESPACE: f"{standing.most} builds run in namespace {case.seen.key.namespace}",
        queueing.REGISTRY: f"{standing.most} builds write to Registry {target.view.registry.key}",
    }
    about = "" if standing.shown == standing.position else "about "
    text = f"{whose[standing.limit]}, as many as may at once; this one is {about}number {standing.shown} in the queue"
    text += f" of its namespace{_cause(case.current)}"
    placed = case.change(queue_position=standing.shown, queue_limit=standing.limit)
    return wait(placed, verdicts.Waiting("Queued", text), look_again=standing.look_again, queued=True)


def _between(case: Case) -> Decision:
    """Between two attempts: what was said of the failure stands."""
    current = case.current
    wait_for = (current.next_time or case.now) - case.now if current else 0.0
    building = next((c for c in case.was.conditions if c.get("type") == status.BUILDING), {})
    reason = str(building.get("reason") or "InfrastructureFailed")
    text = str(building.get("message") or "the next attempt follows")
    return conclude(case, progress(case, reason, text), look_again=wait_for)
