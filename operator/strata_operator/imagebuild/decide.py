"""What is to be done about an ImageBuild: Observed and now -> Decision. Pure; a generator that asks for what costs I/O.

::

    invalid spec ------------------------------------------------> failed
    a build has a Job -- spec changed, suspended, cancelled --> ended, then as below
                      -- else ---------------------> following.follow
                      -- but nobody knows of it ---> published if it was pushed, else started
    nothing runs ----- suspended ------------------> as it was
                       inputs known and as built --> settling (Succeeded, Unchanged)
                       failed, and nothing changed > as it was
                       else -----------------------> starting.begin
"""

from __future__ import annotations

import dataclasses

from strata_builder import contract, errors
from strata_operator.imagebuild import (
    attempts,
    contents,
    endings,
    following,
    hooking,
    inputs,
    isolation,
    kueue,
    questions,
    retry,
    settling,
    spec,
    starting,
    state,
    status,
    target,
    timing,
    verdicts,
    wanting,
)
from strata_operator.imagebuild.case import Case, Decision, Ended, Observed
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.triggers import bases
from strata_operator.imagebuild.waiting import wait


def decide(seen: Observed, now: float) -> Steps[Decision]:
    """The decision about one object at one moment."""
    was = state.read(seen.body.get("status") or {}).out_of_queue().of(seen.generation)
    try:
        wanted = spec.parse(seen.body)
    except errors.InvalidSpec as e:
        return _invalid(seen, was, now, isolation.failure(e))
    if _restored(seen, was.current) and was.current and was.current.fields != inputs.fields(wanted):
        was = was.of(-1)  # it was edited before anybody saw it
    case = Case(seen, wanted, was, now)
    if any(one["metadata"].get("deletionTimestamp") for one in (seen.body, seen.namespace or {"metadata": {}})):
        return _going(case)
    decision = yield from _decide(timing.look(case))
    return (yield from hooking.told(case, decision))


def _decide(case: Case) -> Steps[Decision]:
    current, ended = case.current, None
    if case.cancelled:
        case, ended = endings.cancel(case)
    elif current and current.phase in state.OPEN:
        if case.wanted.suspend:
            case, ended = endings.supersede(case, state.SUSPENDED)
        elif current.attempt and case.outdated and not _may_end(case, current):
            case, ended = endings.supersede(case, state.SUPERSEDED)
        elif current.active:
            return (yield from _active(case, current))
    decision = yield from _rest(case)
    return dataclasses.replace(decision, ended=(ended, *decision.ended)) if ended else decision


def _may_end(case: Case, current: state.Current) -> bool:
    """Whether a build of an older spec goes on: what it makes must go where the present spec wants its image."""
    aim = contents.aim(case)
    here = isinstance(aim, target.Target) and aim.destination == current.destination
    job = case.seen.job(current.job)
    there = job is not None and not kueue.is_suspended(job)
    return case.wanted.concurrency == "Queue" and current.active and here and there


def _active(case: Case, current: state.Current) -> Steps[Decision]:
    """A build has a Job, or was about to have one when the operator ended, or when its object was backed up."""
    never = current.phase == state.STARTING and case.seen.made != current.job
    if case.seen.job(current.job) is None and (never or _restored(case.seen, current)):
        return (yield from _unmade(case, current))
    decision = yield from following.follow(case, contents.aim(case))
    if decision.start is None or not case.outdated:
        return decision
    superseded, ended = endings.supersede(case, state.SUPERSEDED)  # another pod would be of the present spec
    newest = yield from _rest(superseded)
    return dataclasses.replace(newest, ended=(ended, *newest.ended)) if ended else newest


def _unmade(case: Case, current: state.Current) -> Steps[Decision]:
    """There was no Job, or it was deleted before anybody wrote down that it was there: then it may have pushed."""
    aim = contents.aim(case)
    left = None if _restored(case.seen, current) else (yield from following.left_behind(case, aim, current))
    if isinstance(left, contract.BuildResult):
        return (yield from following.publish(case, aim, left))
    if left is not None and retry.class_of(left.reason) is retry.Class.RETRIED:
        return following.unknown(case, left)
    return (yield from _rest(case.change(phase=state.PENDING, attempt=current.attempt - 1)))


def _restored(seen: Observed, current: state.Current | None) -> bool:
    """Whether the status is from a backup: it names the log of an object with another uid, which had that Job."""
    log = current.log if current else ""
    return bool(log) and not log.endswith(f":{attempts.log_tag(seen.uid)}")


def _rest(case: Case) -> Steps[Decision]:
    """Nothing runs: is there something to build?"""
    if case.wanted.suspend:
        same = case.current is not None and case.current.fields == inputs.fields(case.wanted)
        return conclude(case, status.suspended(case.was, as_it_was=same))
    commit = yield from contents.commit(case)
    if isinstance(commit, questions.Resolved):
        return (yield from _with_commit(_checked(case, commit), commit))
    if wanting.idle(case) and not isinstance(commit, questions.Later):
        return (yield from _with_commit(settling.unwatched(case, commit), contents.known(case)))
    if isinstance(commit, contract.Failure):
        return endings.fail(wanting.intend(case), commit, ran=False)
    if isinstance(commit, questions.Later):
        waiting = verdicts.Waiting("SourceUnavailable", commit.message)
        return wait(wanting.intend(case), waiting, look_again=commit.seconds)
    return (yield from _with_commit(case, questions.Resolved(""), seen=False))


def _checked(case: Case, answer: questions.Resolved) -> Case:
    """The case that knows when its source was last asked; an answer of a moment before is no news, unless what is said was
    said by a clock that has been set back since."""
    last = case.was.last_checked or 0.0
    if answer.checked is None or answer.checked <= last <= case.now:
        return case
    return case.become(dataclasses.replace(case.was, last_checked=answer.checked))


def _with_commit(case: Case, commit: questions.Resolved, *, seen: bool = True) -> Steps[Decision]:
    aim = contents.aim(case)
    if isinstance(aim, verdicts.Waiting):
        return settling.keep(case) if wanting.idle(case) else wait(wanting.intend(case), aim)
    content = aim if isinstance(aim, contract.Failure) else (yield from contents.content(case, aim, commit, seen=seen))
    if isinstance(aim, contract.Failure) or isinstance(content, contract.Failure):
        failure = aim if isinstance(aim, contract.Failure) else content
        if wanting.idle(case) or not isinstance(failure, contract.Failure):
            return settling.keep(case)
        return endings.fail(wanting.intend(case), failure, ran=False)
    return (yield from _with_content(case, aim, content))


def _with_content(case: Case, aim: target.Target, content: contents.Content) -> Steps[Decision]:
    case = contents.cancelled(contents.recognized(case, content), content)
    if wanting.needless(case, digest=content.inputs, seen=content.seen):
        case, _ = endings.supersede(_made_of(case, content), state.SUPERSEDED)
    want = wanting.want(case, digest=content.inputs, commit=content.commit, seen=content.seen)
    if isinstance(want, wanting.Nothing) and (yield from settling.lost(case, aim)):
        want = settling.rebuilt(case)
    if isinstance(want, wanting.Nothing | wanting.Nobody):
        case, build = yield from bases.watch(case, content.inputs)
        want = build or want
    if isinstance(want, wanting.Nothing):
        return (yield from settling.unchanged(case, aim, content))
    if isinstance(want, wanting.Nobody):
        return settling.keep(case)
    wanted = _made_of(wanting.intend(case, want), content)
    if _unasked(case, content):
        return (yield from _rest(wanted))
    wanted = wanted.change(base_images=(yield from bases.met(case, want.base_images)))
    return (yield from starting.begin(wanted, aim, content))


def _made_of(case: Case, content: contents.Content) -> Case:
    """The case whose current build is made of this; what one of other inputs has told of its bases counts no more."""
    current = case.current
    same = current is not None and current.inputs in ("", content.inputs)
    return case.change(
        generation=case.seen.generation,
        fields=inputs.fields(case.wanted),
        inputs=content.inputs,
        commit=content.commit,
        ref=content.ref,
        used_base_images=current.used_base_images if current and same else (),
    )


def _unasked(case: Case, content: contents.Content) -> bool:
    """Whether a build would begin at the commit of the one before, and nobody has looked for a newer one since."""
    current = case.current
    known = current is not None and content.commit == current.commit
    return known and case.wanted.git is not None and wanting.idle(case)


def _invalid(seen: Observed, was: state.State, now: float, failure: contract.Failure) -> Decision:
    """The spec cannot be carried out: whatever runs is of an older one."""
    unscheduled = dataclasses.replace(was, next_schedule=None)
    case = Case(seen, spec.Spec(registry="", registry_namespace=""), unscheduled, now)
    ended: Ended | None = None
    if was.current and was.current.phase in state.OPEN:
        case, ended = endings.supersede(case, state.SUPERSEDED)
    said = status.failed(case.was, seen.generation, failure.reason, endings.message(failure))
    return conclude(case, said, ended=ended)


def _going(case: Case) -> Decision:
    """The object is being deleted, or its namespace with all in it: its Jobs go too, and nothing is begun."""
    decision = conclude(case.become(dataclasses.replace(case.was, current=None)), ())
    return dataclasses.replace(decision, status=None, expire_jobs=(), drop_config_maps=())
