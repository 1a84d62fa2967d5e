"""The schedule of an ImageBuild in its decision: when a time has come, and that it was handled. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from strata_operator.imagebuild import state
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.triggers import schedule


def look(case: Case) -> Case:
    """The case that knows whether a time of its schedule has come. While suspended, the next time waits or passes."""
    wanted, was = case.wanted.schedule, case.was
    if wanted is None:
        return _change(case, next_schedule=None)
    if case.wanted.suspend:
        return case
    moment = schedule.look(wanted, was.next_schedule, was.last_schedule, case.now)
    return dataclasses.replace(_change(case, next_schedule=moment.expected), due=moment.due)


def no_cache(case: Case) -> bool:
    """Whether the time that has come wants cached RUN steps to be ignored."""
    return case.due is not None and case.wanted.schedule is not None and case.wanted.schedule.no_cache


def handled(case: Case) -> Case:
    """The case whose current build is the one for the time that has come."""
    if case.due is None or case.wanted.schedule is None:
        return case
    following = schedule.after(case.wanted.schedule, case.due, case.now)
    return dataclasses.replace(_change(case, last_schedule=case.due, next_schedule=following), due=None)


def absorbed(case: Case) -> Case:
    """A build that waits and has not started yet serves for the time that has come, too."""
    current = case.current
    if case.due is None or current is None or current.phase != state.PENDING or current.attempt:
        return case
    return handled(case.change(no_cache=current.no_cache or no_cache(case)))


def _change(case: Case, **changes: Any) -> Case:
    return case.become(dataclasses.replace(case.was, **changes))
