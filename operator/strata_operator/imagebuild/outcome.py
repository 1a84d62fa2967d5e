"""What has become of a Job: its pods' containers judged, not the Job's own status. Pure.

The first failure among our containers counts; push's exit 0 with the end of the other two is the result, whatever
sidecars do. What a container says is hostile until it has passed the contract's schema; only push may name a digest.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_builder import contract
from strata_operator import kube
from strata_operator.imagebuild import beginning, chains, kueue, podend, podstatus, verdicts

#: Reasons that the container which runs user code may give; another one would let a RUN steer the operator.
_OF_BUILD: Final = frozenset(
    {
        "DockerfileInvalid",
        "InvalidSpec",
        "RunFailed",
        "OutOfMemory",
        "StorageLimitExceeded",
        "DeadlineExceeded",
        "InfrastructureFailed",
    }
)
_BY_CODE: Final[Mapping[int, str]] = {
    contract.ExitCode.RUN_FAILED: "RunFailed",
    contract.ExitCode.DEADLINE: "DeadlineExceeded",
}
_NAME: Final = 512
_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})?")  # empty: not found
_FROM_OUTSIDE: Final = frozenset({contract.ExitCode.INTERRUPTED, contract.ExitCode.PEER_LOST, 137, 143})
_ENDING: Final = (
    30.0  # seconds; it says so only when all of its containers have ended, and one may be told before another
)


def judge(
    job: kube.Object, pods: Sequence[kube.Object], now: float, *, events: Sequence[kube.Object] | None = None
) -> verdicts.Verdict:
    """The verdict on a Job and its pods. `events`: those of what an earlier AskEvents named, None = not read."""
    pods = [pod for pod in pods if not kueue.taken_back(pod, job)]
    if kueue.is_suspended(job) and not _job_failed(job):
        pushed = [_result(pod, podstatus.ours(pod)) for pod in pods if _has_pushed(pod)]
        return pushed[0] if pushed else verdicts.Suspended(job)
    alive = sorted((pod for pod in pods if not podstatus.disrupted(pod)), key=podstatus.created)
    if alive:
        return _judge_pod(alive[-1], now, events)
    if verdict := podend.evictions(pods):
        return verdict
    if pods and not _job_failed(job):
        return verdicts.Running("the node gave the pod up; its replacement is on the way")
    if pods or _had_pods(job):
        return verdicts.Lost("the builder pod vanished before it reported a result")
    return beginning.no_pod(job, now, events)


def _judge_pod(pod: kube.Object, now: float, events: Sequence[kube.Object] | None) -> verdicts.Verdict:
    statuses = podstatus.ours(pod)
    if failed := [status for status in statuses if podstatus.exit_code(status) not in (None, 0)]:
        return _first_failure(pod, failed, now)
    if statuses and podstatus.exit_code(statuses[-1]) == 0 and statuses[-1]["name"] == contract.PUSH:
        return _result(pod, statuses)
    if verdict := podend.failure(pod):
        return verdict
    if pod["metadata"].get("deletionTimestamp"):
        return _deleted(pod, now)
    return beginning.stuck(pod, statuses, now, events) or beginning.running(pod, statuses)


def _has_pushed(pod: kube.Object) -> bool:
    statuses = podstatus.ours(pod)
    pushed = bool(statuses) and statuses[-1]["name"] == contract.PUSH and podstatus.exit_code(statuses[-1]) == 0
    return pushed and podstatus.ended(pod)


def _result(pod: kube.Object, statuses: Sequence[Mapping[str, Any]]) -> verdicts.Verdict:
    """Push ended well. The others end by themselves when they see it; a pod that is over has no others."""
    if any(podstatus.exit_code(status) is None for status in statuses) and not podstatus.ended(pod):
        return verdicts.Running("all is in the registry; the other containers are ending", started=True)
    said = podstatus.message(statuses[-1])
    try:
        value = contract.decode_result(said)
    except contract.ContractError as e:
        return podend.infrastructure(
            f"the builder ended well without a result that can be read: {e}{podend.cut(pod, said)}"
        )
    if isinstance(value, contract.BuildResult) and value.platforms and all(p.digest for p in value.platforms):
        return value
    return podend.infrastructure("the builder ended well but named no digest")


def _first_failure(pod: kube.Object, failed: Sequence[Mapping[str, Any]], now: float) -> verdicts.Verdict:
    """The cause among several: a container that lost its peer only tells that another one was first."""
    if killed := [status for status in failed if podstatus.terminated(status).get("reason") == "OOMKilled"]:
        return _out_of_memory(pod, killed[0])
    if any(
        s["name"] == contract.FETCH and podstatus.exit_code(s) == contract.ExitCode.NO_USER_NAMESPACE for s in failed
    ):
        return verdicts.NoUserNamespace(podstatus.node(pod))
    causes = [s for s in failed if podstatus.exit_code(s) != contract.ExitCode.PEER_LOST] or list(failed)
    first = min(causes, key=_finished)
    code = podstatus.exit_code(first)
    if code == contract.ExitCode.NEEDS_SANDBOX and len(podstatus.ours(pod)) == 1:
        return verdicts.NeedsSandbox(_spoken(first, "the Dockerfile runs steps").message)
    if code in _FROM_OUTSIDE:
        return _taken_away(pod, first, failed, now)
    return _spoken(first, _unspoken(first))


def _taken_away(
    pod: kube.Object, first: Mapping[str, Any], failed: Sequence[Mapping[str, Any]], now: float
) -> verdicts.Verdict:
    """Something else has ended the container: the pod as a whole may say what, or another container that is told later."""
    if verdict := podend.failure(pod):
        step = next((status for status in failed if status["name"] == contract.BUILD), first)
        return dataclasses.replace(verdict, log=_last_lines(step))
    if pod["metadata"].get("deletionTimestamp"):
        return _deleted(pod, now)
    lost = podstatus.exit_code(first) == contract.ExitCode.PEER_LOST
    if not podstatus.ended(pod) and abs(now - _finished(first)) < _ENDING:
        what = "has lost the others" if lost else "was killed"
        return verdicts.Running(f"container {first['name']} {what}; its pod is ending, and may say why", started=True)
    if lost:
        return podend.infrastructure(f"container {first['name']} lost the others, and none of them says why")
    return _spoken(first, _unspoken(first))


def _finished(status: Mapping[str, Any]) -> float:
    return podstatus.time(podstatus.terminated(status).get("finishedAt"))


def _spoken(status: Mapping[str, Any], otherwise: str) -> contract.Failure:
    """What the container said, clamped; else what its exit code says."""
    try:
        value = contract.decode_result(podstatus.message(status))
    except contract.ContractError:
        value = None
    if not isinstance(value, contract.Failure):
        reason = _BY_CODE.get(podstatus.exit_code(status) or 0, "InfrastructureFailed")
        return contract.Failure(reason, otherwise, log=podstatus.message(status))
    reason = value.reason
    if reason not in _allowed(status["name"]):  # an end by order is not the step's fault either
        is_steps = status["name"] == contract.BUILD and reason not in contract.ENDED
        reason = "RunFailed" if is_steps else "InfrastructureFailed"
    return dataclasses.replace(
        value,
        reason=reason,
        message=podstatus.clean(value.message),
        hint=podstatus.clean(value.hint),
        file=podstatus.clean(value.file)[:200],
        base_images=_bases(value, lacks=status["name"] != contract.BUILD),
    )


def _bases(value: contract.Failure, *, lacks: bool) -> tuple[contract.BaseImage, ...]:
    """Those that can be watched and written down: what is no name or no digest, nobody has met. `lacks` is whether one may
    not have been found: before steps run all have been."""
    return tuple(
        base
        for base in value.base_images[: contract.MOST_BASE_IMAGES]
        if len(base.name) <= _NAME and _DIGEST.fullmatch(base.digest) and chains.image(base.name)
        if base.digest or lacks
    )


def _allowed(container: str) -> frozenset[str]:
    if container == contract.BUILD:
        return _OF_BUILD
    return contract.NO_RETRY | contract.HEALS_OUTSIDE | contract.RETRIED


def _unspoken(status: Mapping[str, Any]) -> str:
    terminated = podstatus.terminated(status)
    tail = podstatus.clean(podstatus.message(status))[-600:]
    text = f"container {status['name']} ended with code {terminated.get('exitCode')}"
    text += f" ({terminated['reason']})" if terminated.get("reason") not in (None, "Error") else ""
    return f"{text}: {tail}" if tail else text


def _out_of_memory(pod: kube.Object, status: Mapping[str, Any]) -> contract.Failure:
    limit = podstatus.limit(pod, status["name"], "memory")
    return contract.Failure(
        "OutOfMemory",
        f"container {status['name']} used more memory than its limit{f' of {limit}' if limit else ''}",
        hint="raise spec.pod.resources.limits.memory",
        log=_last_lines(status),
    )


def _last_lines(status: Mapping[str, Any]) -> str:
    """What the container said of its log, or the log's end, which the kubelet takes where it could not say anything."""
    text = podstatus.message(status)
    try:
        value = contract.decode_result(text)
    except contract.ContractError:
        return text
    return value.log if isinstance(value, contract.Failure) else ""


def _deleted(pod: kube.Object, now: float) -> verdicts.Verdict:
    """Somebody deleted the pod; its containers still have their grace."""
    if not podstatus.overdue(pod, now):
        return verdicts.Running("the pod is being deleted")
    lost = podstatus.driven_away(pod)
    return verdicts.Lost(f"node {podstatus.node(pod)} was lost" if lost else "the builder pod was deleted")


def _job_failed(job: kube.Object) -> bool:
    found = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Failed", "FailureTarget") and c.get("status") == "True" for c in found)


def _had_pods(job: kube.Object) -> bool:
    status = job.get("status") or {}
    return bool(status.get("failed") or status.get("succeeded") or _job_failed(job))
