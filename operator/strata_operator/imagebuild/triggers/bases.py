"""Base images that have moved since the image was built start a build of it. Pure.

Compared is the manifest of the platform with status.baseImages of the last success, or with what the newest build says that
it has met where that failed: an index that changes with its attestations or for other platforms is no news. What a build was
begun for is remembered in its status, so that neither a failure nor a registry that answers two askers differently makes it
begin again before something moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import chains, questions, state, status, verdicts, wanting
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.questions import Steps

REASON: Final = state.MOVED
WAITING: Final = "WaitingForBaseImage"
#: Seconds for which a build waits at most for those whose images are its bases.
LONGEST_WAIT: Final = 2 * 3600.0
#: Seconds between two times that are written of when base images were checked last: each is a write of the status.
TOLD: Final = 3600.0
#: Base images by name, each with the digests of its manifests; that of one that was not found is empty.
Digests = Mapping[str, frozenset[str]]


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
    message of why some cannot be seen; `checked` when the last look at all of them was, in Unix seconds; `held` says that news
    is to wait for the turn of who asks."""

    found: Mapping[str, Found] = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    checked: float | None = None
    held: bool = False


def recorded(image: Mapping[str, Any]) -> Digests:
    """The base images of the last success that can move."""
    return _digests((base["name"], base["digest"]) for base in image.get("baseImages") or ())


def watched(was: state.State) -> Digests:
    """The base images of which a move is news: those that the newest build has told of if it failed, cancelled since or not,
    for what the last success was made from tells nothing of another Dockerfile; else those of the last success."""
    return _told(was) or recorded(was.image)


def _told(was: state.State) -> Digests:
    current = was.current
    used = current.used_base_images if current and current.phase in state.NOT_DONE else ()
    return _digests((base.name, base.digest) for base in used)


def _digests(bases: Iterable[tuple[str, str]]) -> Digests:
    found: dict[str, frozenset[str]] = {}
    for name, digest in bases:
        if chains.image(name):
            found[name] = found.get(name, frozenset()) | {digest}
    return found


def watch(case: Case, inputs: str) -> Steps[tuple[Case, wanting.Build | None]]:
    """The build that base images want, if any, where `inputs` is the digest of the inputs that are wanted; the case says what
    could not be seen of them."""
    if case.current is None or case.wanted.base_interval is None:
        return case, None
    if case.current.inputs not in ("", inputs):  # the image before is wanted again, which that build tells nothing of
        case = case.change(used_base_images=(), base_images=())
    before = watched(case.was)
    seen = yield from _seen(case, before)
    if seen.problem:
        case = case.unwatched(*seen.problem)
    build = wanted(case, before, seen.found)
    if build and seen.held and not build.goes_on:
        build = None
    return _checked(case, seen.checked), build


def met(case: Case, known: tuple[state.MovedBase, ...]) -> Steps[tuple[state.MovedBase, ...]]:
    """The base images of which a build that is about to begin meets another manifest than the last success, or than the
    failure before it; `known` are those that it was to be begun for."""
    before = watched(case.was)
    seen = yield from _seen(case, before)
    each = {base.name: base for base in known if base.name not in seen.found}
    for than in (_digests((base.name, base.previous) for base in known), before, recorded(case.was.image)):
        each = {base.name: base for base in moved(than, seen.found)} | each
    first = {base.name for base in known}  # what it is begun for has to be remembered, or it would begin again
    return tuple(sorted(each.values(), key=lambda base: (base.name not in first, base.name)))[
        : contract.MOST_BASE_IMAGES
    ]


def _seen(case: Case, before: Digests) -> Steps[Seen]:
    """What is known of the base images `before`, from now on looked at; nothing where they start no build."""
    interval = case.wanted.base_interval
    if interval is None or not before:
        return Seen()
    asked = tuple(sorted(before.items()))
    seen: Seen = yield questions.BaseImages(asked, case.wanted.pull_secrets, interval)
    return seen


def moved(before: Digests, found: Mapping[str, Found]) -> tuple[state.MovedBase, ...]:
    """The base images that are known to be others now."""
    return tuple(
        state.MovedBase(name, now.digest, next(digest for digest in sorted(digests) if now.moved(digest)))
        for name, digests in sorted(before.items())
        if (now := found.get(name)) and now.digest and any(map(now.moved, digests))
    )


def wanted(case: Case, before: Digests, found: Mapping[str, Found]) -> wanting.Build | None:
    """The build that what is known of the watched bases `before` asks for."""
    current, now = case.current, moved(before, found)
    if current is None:
        return None
    if now and news(case.was, current, now, frozenset(before.keys() - found.keys())):
        return wanting.Build(REASON, base_images=now)
    lacking = any("" in digests for digests in before.values())
    unseen = any(base.name not in found for base in current.base_images)  # as after a restart: they are as they were
    still = bool(lacking or now or unseen or moved(recorded(case.was.image), found))
    if still and current.phase == state.FAILED and current.reason == REASON and wanting.due(case):
        return wanting.Build(REASON, goes_on=True, base_images=current.base_images)
    return None


def news(was: state.State, current: state.Current, now: tuple[state.MovedBase, ...], unknown: frozenset[str]) -> bool:
    """Whether the newest build was for something else, or was ended before it had come to anything. Bases of which nothing
    is known are as they were."""
    if _told(was):  # `now` is what it has not met: if it was begun for that, its registry answers it otherwise
        return not {(base.name, base.digest) for base in now} <= {(b.name, b.digest) for b in current.base_images}
    used = recorded(was.image)
    ended = current.phase in (state.SUCCEEDED, state.FAILED, state.CANCELLED)
    tried = {(base.name, base.digest) for base in _tried(current, used) if ended and base.name in used}
    assumed = {(name, digest) for name, digest in tried if name in unknown}
    return {(base.name, base.digest) for base in now} | assumed != tried


def _tried(current: state.Current, used: Digests) -> list[state.MovedBase]:
    """What the newest build was made with, as far as it tells: a success says itself which base images it was made from,
    and is doubted only where it was for other ones."""
    if current.phase != state.SUCCEEDED:
        return list(current.base_images)
    return [base for base in current.base_images if current.reason == REASON and not _overtaken(base, used)]


def _overtaken(base: state.MovedBase, used: Digests) -> bool:
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
    based_on = {*recorded(case.was.image), *(base.name for base in current.base_images)}
    ahead: names.Key | None = yield questions.Ahead(tuple(sorted(based_on)), waited=_waited(case))
    if ahead is None:
        return None
    text = f"ImageBuild {ahead} makes a base image of this one and is built first ({current.cause})"
    return verdicts.Waiting(WAITING, text)


def _waited(case: Case) -> bool:
    return any(c.get("type") == status.BUILDING and c.get("reason") == WAITING for c in case.was.conditions)


def _checked(case: Case, checked: float | None) -> Case:
    """The case that says when its bases were looked at, written at most every hour unless something else is. Where a git
    source is polled, the time is that of the source: what is due after a restart is told by it."""
    last = case.was.last_checked or 0.0
    if checked is None or case.wanted.poll_interval is not None or (checked < last + TOLD and last <= case.now):
        return case
    return case.become(dataclasses.replace(case.was, last_checked=checked))
