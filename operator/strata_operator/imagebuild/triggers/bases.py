"""Base images that have moved since the image was built start a build of it. Pure.

Compared is the manifest of the platform with status.baseImages of the last success: an index that changes with its
attestations or for other platforms is no news. What a build was begun for is remembered in its status, so that neither
a failure nor a registry that answers two askers differently makes it begin again before something moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_operator import names
from strata_operator.imagebuild import chains, questions, state, verdicts, wanting
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.questions import Steps

REASON: Final = state.MOVED
WAITING: Final = "WaitingForBaseImage"
#: Seconds for which a build waits at most for those whose images are its bases.
LONGEST_WAIT: Final = 2 * 3600.0
#: Seconds between two times that are written of when base images were checked last: each is a write of the status.
TOLD: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for: `digest` is that of the platform's manifest, empty if there is none for it; `others` are
    those of other platforms; `top` is what the name itself stands for, `etag` its tag at `host`, which has said so."""

    digest: str
    top: str
    others: frozenset[str] = frozenset()
    etag: str = ""
    host: str = ""

    def moved(self, recorded: str) -> bool:
        """Whether a build that used the manifest `recorded` would use another one now.

        One of another platform (`FROM --platform`) has not moved while it is still there.
        """
        return recorded != self.digest and recorded not in self.others


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of base images, by name; one that is missing is not known (yet). `problem` is the reason and the
    message of why some cannot be seen; `checked` when the last look at all of them was, in Unix seconds."""

    found: Mapping[str, Found] = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    checked: float | None = None


def recorded(image: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The base images of a status that can move, each with the digests of its manifests."""
    found: dict[str, frozenset[str]] = {}
    for base in image.get("baseImages") or ():
        if chains.image(base["name"]):
            found[base["name"]] = found.get(base["name"], frozenset()) | {base["digest"]}
    return found


def watch(case: Case) -> Steps[tuple[Case, wanting.Build | None]]:
    """The build that base images want, if any; the case says what could not be seen of them."""
    before, current = recorded(case.was.image), case.current
    if current is None:
        return case, None
    seen = yield from _seen(case, before)
    if seen.problem:
        case = case.unwatched(*seen.problem)
    unknown = frozenset(before.keys() - seen.found.keys())
    return _checked(case, seen.checked), wanted(case, current, moved(before, seen.found), unknown)


def met(case: Case, known: tuple[state.MovedBase, ...]) -> Steps[tuple[state.MovedBase, ...]]:
    """The base images of which a build that is about to begin meets another manifest than the last success; `known` are
    those that it was to be begun for."""
    before = recorded(case.was.image)
    seen = yield from _seen(case, before)
    return (*moved(before, seen.found), *(base for base in known if base.name not in seen.found))


def _seen(case: Case, before: Mapping[str, frozenset[str]]) -> Steps[Seen]:
    """What is known of the base images `before`, from now on looked at; nothing where they start no build."""
    interval = case.wanted.base_interval
    if interval is None or not before:
        return Seen()
    asked = tuple(sorted(before.items()))
    seen: Seen = yield questions.BaseImages(asked, case.wanted.pull_secrets, interval, case.wanted.priority)
    return seen


def moved(before: Mapping[str, frozenset[str]], found: Mapping[str, Found]) -> tuple[state.MovedBase, ...]:
    """The base images that are known to be others now."""
    return tuple(
        state.MovedBase(name, now.digest, next(digest for digest in sorted(digests) if now.moved(digest)))
        for name, digests in sorted(before.items())
        if (now := found.get(name)) and now.digest and any(map(now.moved, digests))
    )


def wanted(
    case: Case, current: state.Current, now: tuple[state.MovedBase, ...], unknown: frozenset[str]
) -> wanting.Build | None:
    """The build that `now`, all that is known to have moved, asks for."""
    if not now:
        return None
    if news(current, recorded(case.was.image), now, unknown):
        return wanting.Build(REASON, base_images=now)
    if current.phase == state.FAILED and current.reason == REASON and wanting.due(case):
        return wanting.Build(REASON, goes_on=True, base_images=current.base_images)
    return None


def news(
    current: state.Current,
    used: Mapping[str, frozenset[str]],
    now: tuple[state.MovedBase, ...],
    unknown: frozenset[str],
) -> bool:
    """Whether the newest build was for something else, or was ended before it had come to anything. Bases of which nothing
    is known are as they were; `used` are those of the last success."""
    ended = current.phase in (state.SUCCEEDED, state.FAILED, state.CANCELLED)
    tried = {(base.name, base.digest) for base in _tried(current, used) if ended}
    assumed = {(name, digest) for name, digest in tried if name in unknown}
    return {(base.name, base.digest) for base in now} | assumed != tried


def _tried(current: state.Current, used: Mapping[str, frozenset[str]]) -> list[state.MovedBase]:
    """What the newest build was made with, as far as it tells: a success says itself which base images it was made from,
    and is doubted only where it was for other ones."""
    if current.phase != state.SUCCEEDED:
        return list(current.base_images)
    return [base for base in current.base_images if current.reason == REASON and not _overtaken(base, used)]


def _overtaken(base: state.MovedBase, used: Mapping[str, frozenset[str]]) -> bool:
    """Whether the build met a third manifest, neither the one that it was for nor the one before: the base had moved on, and
    can come back. A registry that only answers a builder otherwise gives the one before."""
    return not {base.digest, base.previous} & used.get(base.name, frozenset([base.digest]))


def behind(case: Case) -> Steps[verdicts.Waiting | None]:
    """Why a build that base images started has to wait: one of them is itself about to be built."""
    current = case.current
    if current is None or current.reason != REASON or current.attempt:
        return None
    if case.now >= (current.queued_time or case.now) + LONGEST_WAIT:
        return None
    ahead: names.Key | None = yield questions.Ahead(tuple(sorted(recorded(case.was.image))))
    if ahead is None:
        return None
    text = f"ImageBuild {ahead} makes a base image of this one and is built first ({current.cause})"
    return verdicts.Waiting(WAITING, text)


def _checked(case: Case, checked: float | None) -> Case:
    """The case that says when its bases were looked at, written at most every hour unless something else is. Where a git
    source is polled, the time is that of the source: what is due after a restart is told by it."""
    last = case.was.last_checked or 0.0
    if checked is None or case.wanted.poll_interval is not None or (checked < last + TOLD and last <= case.now):
        return case
    return case.become(dataclasses.replace(case.was, last_checked=checked))
