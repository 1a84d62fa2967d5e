"""The gates between the wish to build and a Job, in order; the first that is closed decides what is said. Pure.

A build that waits is Pending; nothing is made in the cluster before all gates are open.
"""

from __future__ import annotations

import dataclasses

from strata_builder import contract, errors
from strata_operator import kube
from strata_operator.imagebuild import (
    endings,
    isolation,
    ladder,
    launching,
    podstatus,
    questions,
    queueing,
    status,
    tags,
    verdicts,
    wanting,
)
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude, unfinished_jobs
from strata_operator.imagebuild.contents import Content
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.target import Target, not_ready
from strata_operator.imagebuild.triggers import bases
from strata_operator.imagebuild.waiting import progress, wait

_SOON = 2.0
_AT_LENGTH = 300.0  # for what wakes whoever waits for it


def begin(case: Case, target: Target, content: Content) -> Steps[Decision]:
    """Take the current build, which is wanted and has no Job, through the gates."""
    current = case.current
    if current is None:
        raise ValueError("nothing is wanted")
    if wanting.retries_later(case):
        return _between(case)
    if not target.ready:
        return wait(case, not_ready(target))
    if refused := (yield from _refused(case, target, content)):
        return endings.fail(case, refused, ran=False)
    if unfinished_jobs(case.seen) or not all(_is_over(pod, case.now) for pod in case.seen.pods):
        waiting = verdicts.Waiting("Building", "an earlier builder pod is ending")
        return dataclasses.replace(wait(case, waiting, look_again=_SOON, clear=True), follows=True)
    # Before it queues: what needs no pod to fail would else be told, queued and told again while others have the places.
    rungs = yield from ladder.rungs(case)
    if isinstance(rungs, contract.Failure):
        return endings.fail(case, rungs, ran=False)
    if waiting_for := (yield from bases.behind(case)):
        return wait(case, waiting_for, look_again=_AT_LENGTH)
    if case.seen.paused:
        return wait(case, verdicts.Waiting("Paused", case.seen.paused))
    if case.seen.handed_over:
        return (yield from launching.admitted(case, target, content, rungs, attempt=current.attempt + 1))
    since = current.queued_time or case.now
    standing = yield questions.Slot(queueing.rank(case.wanted.priority, since, case.seen.uid, current.reason))
    if standing:
        return _queue(case, target, standing)
    return (yield from launching.admitted(case, target, content, rungs, attempt=current.attempt + 1))


def _refused(case: Case, target: Target, content: Content) -> Steps[contract.Failure | None]:
    """What would fail in any case: found out before anything is built."""
    try:
        wanted = tags.expand(case.wanted.tags, case.facts(content.commit, content.ref))
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


def _queue(case: Case, target: Target, standing: queueing.Standing) -> Decision:
    """The build waits for a place: which limit is reached, and how many are before it."""
    whose = {
        queueing.CLUSTER: f"{standing.most} builds run in the cluster",
        queueing.NAMESPACE: f"{standing.most} builds run in namespace {case.seen.key.namespace}",
        queueing.REGISTRY: f"{standing.most} builds write to Registry {target.view.registry.key}",
    }
    about = "" if standing.shown == standing.position else "about "
    text = f"{whose[standing.limit]}, as many as may at once; this one is {about}number {standing.shown} in the queue"
    text += f" of its namespace{launching.cause(case.current)}"
    placed = case.change(queue_position=standing.shown, queue_limit=standing.limit)
    return wait(placed, verdicts.Waiting("Queued", text), look_again=standing.look_again, queued=True)


def _is_over(pod: kube.Object, now: float) -> bool:
    return podstatus.ended(pod) or podstatus.overdue(pod, now)


def _between(case: Case) -> Decision:
    """Between two attempts: what was said of the failure stands."""
    current = case.current
    wait_for = (current.next_time or case.now) - case.now if current else 0.0
    building = next((c for c in case.was.conditions if c.get("type") == status.BUILDING), {})
    reason = str(building.get("reason") or "InfrastructureFailed")
    text = str(building.get("message") or "the next attempt follows")
    return conclude(case, progress(case, reason, text), look_again=wait_for)
