"""A build that has, or is about to have, a Job: from what its containers say to the next state. Pure."""

from __future__ import annotations

import dataclasses

from strata_builder import contract, errors
from strata_operator import conditions, kube
from strata_operator.imagebuild import (
    contents,
    endings,
    isolation,
    kueue,
    outcome,
    questions,
    replacing,
    retry,
    state,
    status,
    tags,
    verdicts,
)
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.target import Target
from strata_operator.imagebuild.waiting import progress, wait

_WATCHED = 5.0  # seconds between looks at a pod that has not started: some of its troubles give no event of ours
_MOMENT = 15.0  # seconds in which a Job gets its pod and that runs: what the status said at the start is true meanwhile
_GLANCE = 60.0
_REGISTRY_AWAY = 10.0


def follow(case: Case, aim: contents.Aim) -> Steps[Decision]:
    """What the Job of the current build has come to. `aim` is where the image goes."""
    current = case.current
    if current is None:
        raise ValueError("nothing runs")
    verdict = yield from _verdict(case, case.seen.job(current.job))
    if isinstance(verdict, verdicts.Lost):
        verdict = yield from _found(case, verdict, aim, current)
    if isinstance(verdict, contract.BuildResult):
        return (yield from publish(case, aim, verdict))
    if isinstance(verdict, verdicts.NeedsSandbox | verdicts.NoUserNamespace | verdicts.NoImageVolume):
        return (yield from replacing.replace(case, aim, verdict))
    if isinstance(verdict, contract.Failure):
        return endings.fail(case, verdict, ran=True)
    if isinstance(verdict, verdicts.Suspended):
        return (yield from _suspended(case, verdict.body))
    return _running(case, verdict)


def _verdict(case: Case, job: kube.Object | None) -> Steps[verdicts.Verdict]:
    if job is None:
        return verdicts.Lost("the build's Job was deleted")
    pods = case.seen.pods_of(job)
    verdict = outcome.judge(job, pods, case.now)
    if isinstance(verdict, verdicts.AskEvents):
        meta = verdict.body["metadata"]
        kind = str(verdict.body.get("kind") or ("Job" if verdict.body is job else "Pod"))
        events = yield questions.Events(kind, meta["name"], meta["uid"])
        verdict = outcome.judge(job, pods, case.now, events=events)
    return verdict


def _found(case: Case, lost: verdicts.Lost, aim: contents.Aim, current: state.Current) -> Steps[verdicts.Verdict]:
    result = yield from left_behind(case, aim, current)
    if isinstance(result, contract.Failure):
        return verdicts.Waiting(result.reason, f"{lost.message}; its result is looked for: {result.message}")
    return result or contract.Failure("InfrastructureFailed", lost.message, retryable=True)


def left_behind(
    case: Case, aim: contents.Aim, current: state.Current
) -> Steps[contract.BuildResult | contract.Failure | None]:
    """What a pod that vanished had finished before, why that cannot be told, or None.

    Its result stands in the registry. What it was made from does not, so that whoever follows base images is built again:
    nobody would know which.
    """
    if not isinstance(aim, Target) or case.wanted.base_interval is not None:
        return None
    asked = questions.LostResult(aim.repository, current.number, current.attempt)
    result: contract.BuildResult | contract.Failure | None = yield asked
    return result


def unknown(case: Case, why: contract.Failure) -> Decision:
    """Whether it was pushed before the operator began is not to be seen yet; to push it now would fail just so."""
    text = f"an attempt that may have been pushed is looked for: {why.message}"
    decision = conclude(case, progress(case, why.reason, text), look_again=_REGISTRY_AWAY)
    return dataclasses.replace(decision, active=False)


def _suspended(case: Case, job: kube.Object) -> Steps[Decision]:
    """Kueue has not admitted the Job, or has taken it back: the attempt waits, and holds no place."""
    if case.seen.paused:
        return wait(case.change(job=""), verdicts.Waiting("Paused", case.seen.paused), clear=True)
    if kueue.is_elsewhere(job, case.seen.queue):
        text = f"Job {job['metadata']['name']} waits in another queue of Kueue than it is to by now: it is made anew"
        return wait(case.change(job=""), verdicts.Waiting("Queued", text), clear=True)
    new = case.now - kueue.waits_since(job) < _GLANCE  # Kueue says why within seconds, if it does
    age = _WATCHED if new else _GLANCE / 2
    note = kueue.said(job, (yield questions.Workloads(age))) if kueue.is_queued(job) else ""
    text = kueue.waits(job, note)
    before = conditions.find(case.was.conditions, status.BUILDING) or {}
    if not note and str(before.get("message", "")).startswith(kueue.beginning(job)):
        text = str(before["message"])  # its event is gone, and it still waits
    said = progress(case, "Queued", text)
    return conclude(case.change(phase=state.STARTING), said, look_again=_WATCHED if new and not note else _GLANCE)


def _running(case: Case, verdict: verdicts.Verdict) -> Decision:
    """Nothing is decided yet."""
    if (left := _moment(case, verdict)) > 0:
        before = conditions.find(case.was.conditions, status.BUILDING) or {}
        return conclude(case, progress(case, "Building", str(before.get("message"))), look_again=min(left, _WATCHED))
    changed = case.change(phase=state.RUNNING)
    if case.current and (job := case.seen.job(case.current.job)):
        changed = changed.change(start_time=max(case.current.start_time or 0.0, kueue.let_go(job)) or None)
    if isinstance(verdict, verdicts.Waiting):
        said = progress(changed, verdict.reason, verdict.message)
        return conclude(changed, said, look_again=_GLANCE)
    if not isinstance(verdict, verdicts.Running):
        raise TypeError(f"no verdict: {verdict!r}")
    text = (
        f"{verdict.message}; it is of an older spec, the present one is built next"
        if case.outdated
        else verdict.message
    )
    said = progress(changed, "Building", text, started=verdict.started)
    return conclude(changed, said, look_again=_GLANCE if verdict.started else _WATCHED)


def _moment(case: Case, verdict: verdicts.Verdict) -> float:
    """Seconds for which a build that has just been started needs no word of its own, though its pod does not run yet."""
    current, before = case.current, conditions.find(case.was.conditions, status.BUILDING) or {}
    goes_well = isinstance(verdict, verdicts.Running) and not verdict.started and before.get("reason") == "Building"
    if current is None or current.phase != state.STARTING or case.outdated or not goes_well:
        return 0.0
    left = (current.start_time or 0.0) + _MOMENT - case.now
    return left if left <= _MOMENT else 0.0  # else it was started by a clock that has been set back since


def publish(case: Case, aim: contents.Aim, result: contract.BuildResult) -> Steps[Decision]:
    """The digest must be in the registry; then the tags move, and only then the status."""
    if not isinstance(aim, Target):
        return _held_up(case, aim)
    for platform in result.platforms:
        there = yield questions.Published(aim.repository, platform.digest)
        if isinstance(there, contract.Failure):
            return _held_up(case, there)
        if not there:
            text = f"push reported {platform.digest}, and {aim.repository} has no such manifest"
            return endings.fail(case, contract.Failure("InfrastructureFailed", text, retryable=True), ran=True)
    return (yield from _tag(case, aim, result))


def _tag(case: Case, target: Target, result: contract.BuildResult) -> Steps[Decision]:
    current = case.current
    commit = (current.commit if current else "") or result.source.commit
    try:
        wanted = tags.expand(case.wanted.tags, case.facts(commit, current.ref if current else ""))
    except errors.InvalidSpec as e:
        return endings.fail(case, isolation.failure(e), ran=True)
    if taken := tags.conflict(wanted, (yield questions.Rivals(target.repository))):
        return endings.fail(case, taken, ran=False)  # so that it goes on by itself when the tag becomes free
    failure = None
    if wanted:
        failure = yield questions.Tag(target.repository, result.platforms[0].digest, wanted)
    if failure is not None:
        return _held_up(case, failure)
    return endings.succeed(case, target, result, wanted)


def _held_up(case: Case, why: contract.Failure | verdicts.Waiting) -> Decision:
    """All is built and pushed; only the registry, or the way to it, is missing. No attempt is lost by waiting, and no place
    kept: it may be away for hours, and no pod runs."""
    if isinstance(why, contract.Failure) and retry.class_of(why.reason) is retry.Class.FINAL:
        return endings.fail(case, why, ran=True)
    text = f"the image is pushed, its tags are not yet written: {why.message}"
    changed = case.change(phase=state.RUNNING)
    decision = conclude(changed, progress(changed, why.reason, text), look_again=_REGISTRY_AWAY)
    return dataclasses.replace(decision, active=False)
