"""Is a build wanted, and why; is it the one that waits, or the next number? Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from strata_operator import names
from strata_operator.imagebuild import inputs, retry, state, timing
from strata_operator.imagebuild.case import Case

LOST: Final = "ImageLost"
#: Why a build is made although nothing that goes into it has changed: nothing but it tells that it is wanted.
_ASKED: Final = frozenset({"Rebuild", "NoCache", "Scheduled"})
#: Why a build is made because something that goes into it has changed.
_CHANGES: Final = frozenset({"SpecChanged", "CommitChanged", "InputsChanged", "Resumed"})


@dataclass(frozen=True, slots=True)
class Build:
    """`goes_on` with the current number, else the next one. `base_images` are those that it is for."""

    reason: str
    goes_on: bool = False
    base_images: tuple[state.MovedBase, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """The image is as wanted."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """The newest build failed, and nothing that counts has changed since."""


def want(case: Case, *, digest: str, commit: str, seen: bool) -> Build | Nothing | Nobody:
    """What is wanted, given the digest of the inputs; `seen` is false if only the pod can tell the commit."""
    current = case.current
    if current and _waits(current):
        return Build(current.reason, goes_on=True, base_images=current.base_images)
    if case.forced or current is None:
        return Build(case.forced or "SpecChanged")
    if owed(current):
        return Build(current.reason)
    if case.was.image.get("inputs") == digest and (seen or not case.fresh):
        return Build(current.reason, goes_on=True) if _unhealed(case, current) else Nothing()
    if current.phase == state.CANCELLED and not case.fresh and current.inputs in ("", digest):
        return Nobody()
    if current.phase == state.FAILED and not case.fresh and current.inputs in ("", digest):
        return Nobody() if idle(case) else Build(current.reason, goes_on=True, base_images=current.base_images)
    return Build(_change(case, current, commit))


def needless(case: Case, *, digest: str, seen: bool) -> bool:
    """Whether a build that waits and has not started would make the image that is there: what it was for was taken back, or
    was never a change."""
    current = case.current
    if current is None or current.phase != state.PENDING or current.attempt or case.forced or not seen:
        return False
    return current.reason in _CHANGES and case.was.image.get("inputs") == digest


def owed(current: state.Current) -> bool:
    """Whether a change or a suspension has ended what somebody has asked for, before it had come to anything."""
    return current.phase in (state.SUPERSEDED, state.SUSPENDED) and current.reason in _ASKED


def _unhealed(case: Case, current: state.Current) -> bool:
    """Whether what somebody has asked for has failed, and is to be looked at again."""
    return current.reason in _ASKED and current.phase == state.FAILED and not idle(case)


def idle(case: Case) -> bool:
    """Nothing is to be begun unless the inputs turn out to have changed."""
    current = case.current
    if current is None or case.fresh or case.forced or _waits(current):
        return False
    if case.outdated and not case.was.built(case.seen.generation):
        return False  # a build of an older spec has ended, and nobody has begun that of the present one
    if current.phase == state.FAILED:
        return bool(current.job) and not due(case)
    if current.phase == state.CANCELLED:
        return True
    return current.phase == state.SUCCEEDED or case.was.built(case.seen.generation)


def due(case: Case) -> bool:
    """The time has come to look again at what failed."""
    current = case.current
    if current is None or current.next_time is None:
        return False
    delay = retry.check_delay(max(current.checks - 1, 0), case.seen.uid)
    return not retry.waits(current.next_time, case.now, delay)


def retries_later(case: Case) -> bool:
    """The time of the next attempt is still to come."""
    current = case.current
    if current is None or current.phase != state.RETRYING:
        return False
    delay = retry.retry_delay(max(current.retries - 1, 0), case.seen.uid)
    return retry.waits(current.next_time, case.now, delay)


def intend(case: Case, build: Build | None = None) -> Case:
    """The case with the wanted build as its current one.

    Without `build` it is not known whether the inputs have changed: a build that waits or has failed goes on.
    """
    current = case.current
    failed = current is not None and current.phase == state.FAILED and not case.fresh and not case.forced
    if current and (_waits(current) or (failed and build is None) or (build and build.goes_on)):
        return _absorbed(case, current) if _waits(current) else case
    kept = current if current and owed(current) else None
    new = state.Current(
        number=(current.number if current else 0) + 1,
        generation=case.seen.generation,
        reason=build.reason if build else case.forced or (kept.reason if kept else "SpecChanged"),
        fields=inputs.fields(case.wanted),
        no_cache=_ignores_cache(case) or timing.no_cache(case) or bool(kept and kept.no_cache),
        queued_time=case.now,
        base_images=build.base_images if build else (),
        used_base_images=current.used_base_images if current and build and build.reason == state.MOVED else (),
    )
    return timing.handled(_handled(case.become(dataclasses.replace(case.was, current=new))))


def _absorbed(case: Case, current: state.Current) -> Case:
    """A build that waits and has not started serves for what is asked for meanwhile, too. From then on that is its reason:
    it is to be built also if what it waited to be built for is taken back."""
    if current.phase != state.PENDING or current.attempt:
        return case
    reason = current.reason if current.reason in _ASKED else case.forced or current.reason
    case = case.change(reason=reason, no_cache=current.no_cache or _ignores_cache(case))
    return timing.absorbed(_handled(case))


def _ignores_cache(case: Case) -> bool:
    asked = case.seen.annotation(names.ANNOTATION_NO_CACHE)
    return bool(asked) and asked != case.was.handled_no_cache


def _handled(case: Case) -> Case:
    """The case whose current build is the one that the annotations ask for."""
    rebuild, no_cache = (case.seen.annotation(name) for name in (names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE))
    return case.become(dataclasses.replace(case.was, handled_rebuild=rebuild, handled_no_cache=no_cache))


def _waits(current: state.Current) -> bool:
    return current.phase in (state.PENDING, state.RETRYING)


def _change(case: Case, current: state.Current, commit: str) -> str:
    if current.phase == state.SUSPENDED:
        return "Resumed"
    if case.fresh or inputs.fields(case.wanted) != current.fields:
        return "SpecChanged"
    return "CommitChanged" if commit != current.commit else "InputsChanged"
