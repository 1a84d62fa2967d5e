"""Nothing is to be built: what is said then, and tags that have to move without a build. Pure."""

from __future__ import annotations

import dataclasses
from typing import Final

from strata_builder import contract, errors
from strata_operator import conditions
from strata_operator.imagebuild import (
    contents,
    endings,
    inputs,
    isolation,
    questions,
    state,
    status,
    tags,
    target,
    wanting,
)
from strata_operator.imagebuild.case import Case, Decision, Ended
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.questions import Steps

IMAGE_CHECK: Final = 6 * 3600.0  # seconds between two looks whether an image is still there
_AGAIN: Final = 60.0


def keep(case: Case) -> Decision:
    """As it was said when it came about."""
    current = case.current
    if current and current.phase in state.NOT_DONE and not case.was.built(case.seen.generation):
        return endings.still_failed(case, said(case))
    found = conditions.find(case.was.conditions, conditions.READY) or {}
    last = conditions.find(case.was.conditions, status.LAST) or {}
    reason, text = str(found.get("reason") or ""), str(found.get("message") or "")
    if found.get("status") == conditions.FALSE and not case.was.built(case.seen.generation):
        return _not_tagged(case, contract.Failure(reason, text))
    if found.get("status") != conditions.TRUE:
        reason, text = "Unchanged", "the image is the one that was built last"
    wanted = status.satisfied(reason, text)
    if current and current.phase == state.CANCELLED:
        wanted = status.failed(case.was, case.seen.generation, state.CANCELLED, endings.CANCELLED)
    elif last.get("status") == conditions.FALSE and current and current.phase == state.FAILED:
        wanted = status.failed(case.was, case.seen.generation, str(last["reason"]), said(case))
    return conclude(case, wanted, look_again=endings.next_look(case))


def unchanged(case: Case, to: target.Target, content: contents.Content) -> Steps[Decision]:
    """The image is what the spec asks for; its tags may not be, nor the names by which its Registry is now reached."""
    case = _renamed(case, to)
    success = case.was.last_success
    if success is None or case.was.built(case.seen.generation):
        return keep(case)
    git = case.wanted.git
    facts = tags.Facts(
        success.number, success.time or case.now, content.commit, content.ref, git.revision if git else ""
    )
    try:
        wanted = tags.expand(case.wanted.tags, facts)
    except errors.InvalidSpec as e:
        return _not_tagged(case, isolation.failure(e))
    failure = tags.conflict(wanted, (yield questions.Rivals(to.repository)))
    if failure is None and wanted and list(wanted) != case.was.image.get("tags"):
        failure = yield questions.Tag(to.repository, success.digest, wanted)
    return _not_tagged(case, failure) if failure else _moved_on(_taken_back(case, content), success, wanted)


def lost(case: Case, to: target.Target) -> Steps[bool]:
    """Whether the image that was built is gone from the registry; a registry that does not answer proves nothing."""
    digest = str(case.was.image.get("digest", ""))
    if not to.ready or not digest:
        return False
    max_age = 0.0 if case.fresh else IMAGE_CHECK  # somebody who has just changed it is answered by what is there now
    there = yield questions.Published(to.repository, digest, max_age=max_age)
    return there is False


def rebuilt(case: Case) -> wanting.Build | wanting.Nobody:
    """What is wanted where the image is gone. A build that has failed goes on when that has its time, and is else tried
    again as often as images are looked at; one that was cancelled is not."""
    current = case.current
    if current and current.phase == state.CANCELLED and current.reason == wanting.LOST:
        return wanting.Nobody()
    if current is None or current.phase != state.FAILED or case.fresh:
        return wanting.Build(wanting.LOST)
    if wanting.due(case):
        return wanting.Build(current.reason, goes_on=True, base_images=current.base_images)
    recent = 0.0 <= case.now - (current.completion_time or 0.0) < IMAGE_CHECK
    return wanting.Nobody() if recent else wanting.Build(wanting.LOST)


def unwatched(case: Case, answer: questions.Unseen | contract.Failure) -> Case:
    """The case in which the source cannot be watched, which is said beside what is said of the image."""
    if isinstance(answer, questions.Unseen):
        found = case.unwatched("AccessNotGranted", answer.message)
    else:
        found = case.unwatched(answer.reason, endings.message(answer))
    return dataclasses.replace(found, unpolled=True)


def said(case: Case) -> str:
    """What was said of the last failure."""
    if case.current and case.current.phase == state.CANCELLED:
        return endings.CANCELLED
    last = conditions.find(case.was.conditions, status.LAST) or {}
    return str(last.get("message") or (case.current.result if case.current else ""))


def _renamed(case: Case, to: target.Target) -> Case:
    """The case with the references that the Registry gives now: node access may have come, gone or changed its port."""
    digest = str(case.was.image.get("digest", ""))
    if not to.ready or not digest or case.was.image.get("repository") != to.repository:
        return case
    others = {name: value for name, value in case.was.image.items() if name not in ("image", "references")}
    return case.become(dataclasses.replace(case.was, image=others | to.names(digest)))


def _taken_back(case: Case, content: contents.Content) -> Case:
    """The case whose newest build is of the present spec, though it was begun for one that is not wanted any more, and maybe
    for a commit that is not, or was not begun at all, so that nobody knew the commit."""
    current = case.current
    if current is None:
        return case
    known = (current.commit, current.ref) if current.commit and current.phase not in state.STOPPED else None
    commit, ref = known or (content.commit, content.ref)
    return case.change(fields=inputs.fields(case.wanted), commit=commit, ref=ref)


def _moved_on(case: Case, success: state.Success, wanted: tuple[str, ...]) -> Decision:
    image = {name: value for name, value in case.was.image.items() if name != "tags"}
    moved = dataclasses.replace(
        case.was,
        last_success=dataclasses.replace(success, generation=case.seen.generation),
        image=image | ({"tags": list(wanted)} if wanted else {}),
    )
    text = f"nothing that counts for the image has changed since build {success.number}"
    return conclude(
        case.become(moved),
        status.satisfied("Unchanged", text),
        ended=Ended("unchanged", "Unchanged"),
        look_again=case.wanted.look_interval,
    )


def _not_tagged(case: Case, failure: contract.Failure) -> Decision:
    """The image is there and cannot be given its tags: looked at again until it can."""
    wanted = status.failed(case.was, case.seen.generation, failure.reason, endings.message(failure))
    return conclude(case, wanted, look_again=_AGAIN)
