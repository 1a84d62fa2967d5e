"""How a build, or an attempt of one, ends: each is one change of the state and one set of conditions. Pure."""

from __future__ import annotations

import dataclasses
from typing import Final

from strata_builder import contract
from strata_operator import conditions, names
from strata_operator.imagebuild import attempts, history, image, inputs, retry, state, status, wanting
from strata_operator.imagebuild.case import Case, Decision, Ended
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.target import Target

_REFERENCES = 10.0  # seconds between two looks whether a Secret or ConfigMap has appeared
_SHOWN_DIGEST = 19  # characters: sha256: and twelve more
#: What is said of a build that somebody has cancelled.
CANCELLED: Final = (
    "cancelled by the annotation strata.build/cancel; a change of what goes into the image builds again, or: "
    "kubectl annotate --overwrite imagebuild NAME strata.build/rebuild=$(date +%s)"
)


def fail(case: Case, failure: contract.Failure, *, ran: bool) -> Decision:
    """The current build failed: in its pod if it `ran`, else before there was one, or for what came after its pod.

    By the failure's class it is retried at a time, looked at again at a time, or has ended.
    """
    kind = retry.class_of(failure.reason)
    case = case.change(used_base_images=_used(_current(case), failure.base_images))
    current = _current(case)
    heals = retry.heals(failure.reason, after=current.result)
    if case.outdated and current.active:
        return _over(case, failure)
    if kind is retry.Class.RETRIED and current.retries < case.wanted.retries:
        return _retry(case, failure, ran=ran)
    if not ran and current.phase == state.FAILED and current.result == failure.reason and not wanting.due(case):
        return still_failed(case, message(failure))
    case = _attempted(case, failure.reason, failure) if ran or current.active else case
    next_time = case.now + retry.check_delay(current.checks, case.seen.uid) if heals else None
    changed = case.change(
        phase=state.FAILED,
        result=failure.reason,
        checks=current.checks + 1 if heals else current.checks,
        next_time=next_time,
        completion_time=case.now,
        job=current.job if ran else "",
    )
    return conclude(
        _remember(changed, failure.reason, message=message(failure)),
        status.failed(changed.was, case.seen.generation, failure.reason, message(failure)),
        ended=_ended(changed, "failed", failure.reason) if ran or not current.checks else None,
        look_again=next_look(changed),
    )


def _used(current: state.Current, told: tuple[contract.BaseImage, ...]) -> tuple[contract.BaseImage, ...]:
    """The base images of a build that failed, by what it told, or the one before it of the same inputs. These name the same
    bases: a step that told of others each time would have itself built without end."""
    before = current.used_base_images
    if current.reason == state.MOVED and before and all(base.digest for base in before):
        told = tuple(base for base in told if base.name in {known.name for known in before})
    return told or before


def _over(case: Case, failure: contract.Failure) -> Decision:
    """A build of an older spec has failed: that is history, and what is wanted now is built next."""
    case = _attempted(case, failure.reason, failure)
    changed = case.change(phase=state.FAILED, result=failure.reason, completion_time=case.now, next_time=None)
    return conclude(
        _remember(changed, failure.reason, message=message(failure)),
        _superseding(changed, f"failed ({failure.reason})"),
        ended=_ended(changed, "failed", failure.reason),
        look_again=0.0,
    )


def _superseding(case: Case, how: str) -> list[conditions.Condition]:
    current = _current(case)
    text = f"build {current.number}, of an older spec, {how}; the present spec is built next"
    return status.working(case.was, case.seen.generation, "Building", text)


def _retry(case: Case, failure: contract.Failure, *, ran: bool) -> Decision:
    case = _attempted(case, failure.reason, failure) if ran or _current(case).active else case
    current = _current(case)
    delay = retry.retry_delay(current.retries, case.seen.uid)
    changed = case.change(
        phase=state.RETRYING,
        result=failure.reason,
        retries=current.retries + 1,
        next_time=case.now + delay,
        job=current.job if ran else "",
    )
    text = f"{message(failure)}; retry {current.retries + 1} of {case.wanted.retries} follows"
    return conclude(
        changed,
        status.working(changed.was, case.seen.generation, failure.reason, text),
        ended=_ended(changed, "failed", failure.reason) if ran else None,
        look_again=delay,
    )


def still_failed(case: Case, text: str) -> Decision:
    """Nothing has changed since it failed; `text` is what is to be said of it now."""
    current = _current(case)
    return conclude(
        case, status.failed(case.was, case.seen.generation, current.result, text), look_again=next_look(case)
    )


def next_look(case: Case) -> float | None:
    """Seconds until the source is looked at again, or what failed has its time: sooner if no pod is needed to tell. What has
    its time and is not wanted any more has none."""
    current = case.current
    waits = [] if case.wanted.look_interval is None else [case.wanted.look_interval]
    if current and current.phase == state.FAILED and current.next_time is not None and not wanting.due(case):
        waits.append(current.next_time - case.now)
    if current and current.phase == state.FAILED and current.result == "ReferenceNotFound" and not current.job:
        waits.append(_REFERENCES)
    return min(waits, default=None)


def supersede(case: Case, phase: str) -> tuple[Case, Ended | None]:
    """The current build is no longer wanted (`phase` Superseded or Suspended). Its Job goes by itself."""
    current = _current(case)
    changed = case.change(phase=phase, result=phase, completion_time=case.now, next_time=None)
    if not current.attempt:
        return changed, None
    if current.active:  # between two attempts the last one has ended by itself, and its reason stays
        changed = _attempted(changed, phase)
    return _remember(changed, phase), _ended(changed, "cancelled", phase)


def cancel(case: Case) -> tuple[Case, Ended | None]:
    """Somebody has asked for the end of what waits, runs, is to be tried again, or is owed since a suspension has ended it;
    without one it is only noted."""
    asked = case.seen.annotation(names.ANNOTATION_CANCEL)
    case = case.become(dataclasses.replace(case.was, handled_cancel=asked))
    current = case.current
    again = current is not None and current.phase == state.FAILED and current.next_time is not None
    if current is None or not (current.phase in state.OPEN or again or wanting.owed(current)):
        return case, None
    case = _attempted(case, state.CANCELLED) if current.active else case
    if (
        current.phase == state.PENDING and not current.attempt
    ):  # it was to be of the present spec, whichever it was queued for
        case = case.change(fields=inputs.fields(case.wanted))
    changed = case.change(
        phase=state.CANCELLED, result=state.CANCELLED, completion_time=case.now, next_time=None, checks=0
    )
    told = wanting.owed(current) and current.attempt > 0  # of what ended it before
    ended = None if told else _ended(changed, "cancelled", state.CANCELLED)
    return _remember(changed, state.CANCELLED, message=CANCELLED), ended


def succeed(case: Case, target: Target, result: contract.BuildResult, tags: tuple[str, ...]) -> Decision:
    """The image is in the registry under its tags."""
    case = _attempted(case, "Succeeded")
    current = _current(case)
    digest = result.platforms[0].digest
    changed = case.change(
        phase=state.SUCCEEDED,
        result="Succeeded",
        completion_time=case.now,
        next_time=None,
        checks=0,
        used_base_images=(),  # of an attempt before; the image says its own
        generation=current.generation if case.outdated else case.seen.generation,
    )
    generation = _current(changed).generation
    done = dataclasses.replace(
        changed.was,
        last_success=state.Success(current.number, generation, digest, case.now, current.isolation),
        image=image.of(changed, _current(changed), target, result, tags),
    )
    text = f"build {current.number} put {target.repository}@{digest[:_SHOWN_DIGEST]} there"
    text += f", tagged {', '.join(tags)}" if tags else ""
    return conclude(
        _remember(changed.become(done), "Succeeded", digest=digest, commit=result.source.commit),
        _superseding(changed.become(done), "succeeded") if case.outdated else status.satisfied("Succeeded", text),
        ended=_ended(changed, "succeeded", "Succeeded", result),
        look_again=0.0 if case.outdated else case.wanted.look_interval,
    )


def message(failure: contract.Failure) -> str:
    """A failure for people: where, what, and what to do next."""
    place = f"{failure.file}:{failure.line}" if failure.file and failure.line else failure.file
    if place and not failure.message.startswith(failure.file):
        failure = dataclasses.replace(failure, message=f"{place}: {failure.message}")
    return "\n".join(part for part in (failure.message, failure.hint and f"hint: {failure.hint}") if part)


def _ended(case: Case, result: str, reason: str, said: contract.BuildResult | None = None) -> Ended:
    current = _current(case)
    numbers = image.metrics(current, said, case.now) if said else {}
    return Ended(
        result=result,
        reason=reason,
        isolation=current.isolation,
        duration=case.now - current.start_time if current.start_time and current.attempt else None,
        queue=numbers.get("queueSeconds"),
        pod_start=numbers.get("podStartSeconds"),
        metrics=said.metrics if said else None,
    )


def _remember(case: Case, result: str, *, digest: str = "", commit: str = "", message: str = "") -> Case:
    """The case with the current build in its history."""
    current, tried = _current(case), attempts.of(case.was)
    entry = history.entry(current, result, case.now, digest=digest, commit=commit, message=message, attempts=tried)
    kept = history.add(case.was.builds, entry, succeeded=case.wanted.keep_succeeded, failed=case.wanted.keep_failed)
    return case.become(dataclasses.replace(case.was, builds=kept)).change(attempts=())


def _attempted(case: Case, result: str, failure: contract.Failure | None = None) -> Case:
    """The case that knows of its newest attempt's end, whatever becomes of the build."""
    return case.change(attempts=attempts.add(attempts.of(case.was), _current(case), result, case.now, failure))


def _current(case: Case) -> state.Current:
    if case.current is None:
        raise ValueError("there is no current build")
    return case.current
