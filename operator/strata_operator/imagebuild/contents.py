"""What would be built now: the commit, the ConfigMaps, the repository, and the digest over all of it. Pure."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strata_builder import contract
from strata_operator import conditions, kube
from strata_operator.imagebuild import inputs, questions, retry, state, status, target, verdicts, wanting
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.questions import Steps

#: Where the image goes, or why that is not known (yet).
Aim = target.Target | contract.Failure | verdicts.Waiting
_RECENT: Final = 20.0  # seconds for which a commit that was looked up may begin a build
_CLOCKS: Final = 2.0  # seconds by which the API server's clock may differ
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Content:
    """All that the inputs digest is over; `seen` is false if only the pod can look at the source.

    `blind` is what the digest would be if it were so, where the newest build's pod has seen this very commit; else empty.
    """

    inputs: str
    commit: str = ""
    ref: str = ""
    args: tuple[tuple[str, str], ...] = ()
    seen: bool = True
    blind: str = ""


def aim(case: Case) -> Aim:
    return target.of(case.seen.registry, case.seen.namespace, case.wanted, case.seen.key)


#: What may be said of the commit.
Source = questions.Resolved | questions.Unseen | questions.Later | contract.Failure


def commit(case: Case) -> Steps[Source]:
    """The commit to build: looked up when a build may begin, found by polling, else the one known."""
    git, interval = case.wanted.git, case.wanted.poll_interval
    if git is None:
        return questions.Resolved("")
    if _COMMIT.fullmatch(git.revision):
        return questions.Resolved(git.revision)
    current = case.current
    retried = current is not None and current.phase == state.RETRYING and current.attempt > 0 and bool(current.commit)
    idle = wanting.idle(case)
    if retried or wanting.retries_later(case) or (idle and interval is None):
        return known(case)
    if idle:
        polled: Source | None = yield questions.Polled(git.url, git.revision, git.secret)
        return _as_said(case) if polled is None else polled
    answer: Source = yield questions.Commit(git.url, git.revision, git.secret, _age(case))
    return answer


def _as_said(case: Case) -> Source:
    """What the status says, for a restarted operator that has not polled yet."""
    found = conditions.find(case.was.conditions, status.POLLING)
    if case.wanted.base_interval is not None:
        return known(case)  # there it may be of base images, too
    if found and found.get("status") == conditions.FALSE:
        return contract.Failure(str(found["reason"]), str(found.get("message", "")))
    return known(case)


def _age(case: Case) -> float:
    """How old an answer may be that begins a build: what failed is asked anew only when its time has come."""
    current = case.current
    if current is None and not case.forced and case.seen.generation == 1:
        return max(case.now - case.seen.created - _CLOCKS, 0.0)  # many that are applied together are one look
    if case.fresh or case.forced or current is None or current.phase == state.RETRYING or wanting.due(case):
        return 0.0
    return retry.LONGEST_CHECK if current.phase == state.FAILED else _RECENT


def known(case: Case) -> questions.Resolved:
    """The commit of the newest build."""
    current = case.current
    return questions.Resolved(current.commit, current.ref) if current else questions.Resolved("")


def content(
    case: Case, to: target.Target, source: questions.Resolved, *, seen: bool = True
) -> Steps[Content | contract.Failure]:
    """All that the inputs are made of."""
    found: Mapping[str, kube.Object | None] = {}
    if case.wanted.config_maps:
        found = yield questions.ConfigMaps(case.wanted.config_maps)
    present = {name: body for name, body in found.items() if body is not None}
    if absent := [name for name in case.wanted.config_maps if name not in present]:
        return _missing(f"ConfigMap {absent[0]} does not exist in this namespace")
    args = []
    for arg in case.wanted.args:
        value = arg.value if arg.value is not None else (present[arg.config_map].get("data") or {}).get(arg.key)
        if value is None:
            return _missing(f"ConfigMap {arg.config_map} has no key {arg.key}, which spec.args {arg.name} names")
        args.append((arg.name, value))
    digest = functools.partial(inputs.digest, case.wanted, repository=to.repository, config_maps=present)
    blind = digest(commit="") if _seen_by_pod(case, source.commit) else ""
    return Content(digest(commit=source.commit), source.commit, source.ref, tuple(args), seen, blind)


def recognized(case: Case, found: Content) -> Case:
    """The case that knows of which commit the newest build is, if only its pod had seen the source and made the image of
    what is found now: that the operator has come to see it is no reason to build."""
    image = case.was.image
    if not found.blind or image.get("inputs") != found.blind:
        return case
    known = dataclasses.replace(case.was, image={**image, "inputs": found.inputs})
    return case.become(known).change(commit=found.commit, ref=found.ref, inputs=found.inputs)


def cancelled(case: Case, found: Content) -> Case:
    """The case that knows what the newest build would have been made of, if it was cancelled before anybody did: it is what
    is found first, so that whatever differs from that is a change."""
    current = case.current
    if current is None or current.phase != state.CANCELLED or case.fresh:
        return case
    if current.inputs and (current.commit or not found.commit):
        return case
    if case.wanted.git and case.wanted.poll_interval and not found.commit:
        return case  # it is polled, and was not yet
    return case.change(inputs=found.inputs, commit=found.commit, ref=found.ref)


def _seen_by_pod(case: Case, commit: str) -> bool:
    current = case.current
    if not commit or current is None or current.commit or current.phase != state.SUCCEEDED:
        return False
    return commit == (case.was.image.get("source") or {}).get("commit")


def _missing(text: str) -> contract.Failure:
    hint = "create it, or name another one; it is looked at again by itself"
    return contract.Failure("ReferenceNotFound", text, hint=hint)
