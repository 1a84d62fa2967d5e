"""What has become of a Job: its pods' containers judged, not the Job's own status. Pure.

The first failure among our containers counts; push's exit 0 with the end of the other two is the result, whatever
sidecars do. What a container says is hostile until it has passed the contract's schema; only push may name a digest.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions, kube
from strata_operator.imagebuild import refusals

#: Seconds that a pod or container may be stuck before that is a failure; the kubelet itself tries again meanwhile.
PATIENCE: Final = 60.0
#: Seconds without a pod, or of a pod that does not start, before its events are read.
CURIOUS: Final = 5.0
BUILDER: Final = "builder"  # the volume of InPlace that holds the builder
OURS: Final = (contract.INSTALL, contract.FETCH, contract.BUILD, contract.PUSH)
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
_IMAGE_REASONS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
)
_BY_CODE: Final[Mapping[int, str]] = {
    contract.ExitCode.RUN_FAILED: "RunFailed",
    contract.ExitCode.DEADLINE: "DeadlineExceeded",
}
_KILLED: Final = frozenset({contract.ExitCode.INTERRUPTED, 137, 143})  # the pod as a whole may say why
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHOWN: Final = 1500  # characters of a message


@dataclass(frozen=True, slots=True)
class Running:
    """`started` once all containers run."""

    message: str
    started: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Comes by itself, or by an administrator: `reason` of contract.WAITING."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NeedsSandbox:
    """A step must run, and this pod runs none."""

    message: str


@dataclass(frozen=True, slots=True)
class NoUserNamespace:
    """The node has ignored `hostUsers: false`, and fetch has said so; nothing has run."""

    node: str


@dataclass(frozen=True, slots=True)
class NoImageVolume:
    """The node cannot mount the builder's image; nothing has run."""

    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """No pod and no result are left."""

    message: str


@dataclass(frozen=True, slots=True)
class AskEvents:
    """The events of this object are needed to tell."""

    body: kube.Object


Verdict = (
    Running
    | Waiting
    | NeedsSandbox
    | NoUserNamespace
    | NoImageVolume
    | Lost
    | AskEvents
    | contract.BuildResult
    | contract.Failure
)


def judge(
    job: kube.Object, pods: Sequence[kube.Object], now: float, *, events: Sequence[kube.Object] | None = None
) -> Verdict:
    """The verdict on a Job and its pods. `events`: those of what an earlier AskEvents named, None = not read."""
    alive = sorted((pod for pod in pods if not _disrupted(pod)), key=_created)
    if alive:
        return _judge_pod(alive[-1], now, events)
    if pods and not _job_failed(job):
        return Running("the node gave the pod up; its replacement is on the way")
    if pods or _had_pods(job):
        return Lost("the builder pod vanished before it reported a result")
    return _no_pod(job, now, events)


def ended(pod: kube.Object) -> bool:
    """Whether nothing of the pod can run any more, as far as this cluster can tell."""
    if _phase(pod) in ("Succeeded", "Failed"):
        return True
    return _node_lost(pod)


def _judge_pod(pod: kube.Object, now: float, events: Sequence[kube.Object] | None) -> Verdict:
    statuses = _our_statuses(pod)
    if failed := [status for status in statuses if _exit_code(status) not in (None, 0)]:
        return _first_failure(pod, failed)
    if statuses and _exit_code(statuses[-1]) == 0 and statuses[-1]["name"] == contract.PUSH:
        return _result(pod, statuses)
    if verdict := _pod_failure(pod):
        return verdict
    if pod["metadata"].get("deletionTimestamp"):
        return _deleted(pod, now)
    return _stuck(pod, statuses, now, events) or _running(pod, statuses)


def _result(pod: kube.Object, statuses: Sequence[Mapping[str, Any]]) -> Verdict:
    """Push ended well. The others end by themselves when they see it; a pod that is over has no others."""
    if any(_exit_code(status) is None for status in statuses) and not ended(pod):
        return Running("all is in the registry; the other containers are ending", started=True)
    said = _message(statuses[-1])
    try:
        value = contract.decode_result(said)
    except contract.ContractError as e:
        return _infrastructure(f"the builder ended well without a result that can be read: {e}")
    if isinstance(value, contract.BuildResult) and value.platforms and all(p.digest for p in value.platforms):
        return value
    return _infrastructure("the builder ended well but named no digest")


def _first_failure(pod: kube.Object, failed: Sequence[Mapping[str, Any]]) -> Verdict:
    """The cause among several: a container that lost its peer only tells that another one was first."""
    if killed := [status for status in failed if _terminated(status).get("reason") == "OOMKilled"]:
        return _out_of_memory(pod, killed[0])
    if any(s["name"] == contract.FETCH and _exit_code(s) == contract.ExitCode.NO_USER_NAMESPACE for s in failed):
        return NoUserNamespace(_node(pod))
    causes = [s for s in failed if _exit_code(s) != contract.ExitCode.PEER_LOST] or list(failed)
    first = min(causes, key=lambda status: _time(_terminated(status).get("finishedAt")))
    code = _exit_code(first)
    if code == contract.ExitCode.NEEDS_SANDBOX and len(_our_statuses(pod)) == 1:
        return NeedsSandbox(_spoken(first, "the Dockerfile runs steps").message)
    if code == contract.ExitCode.PEER_LOST:
        return _infrastructure(f"container {first['name']} lost the others, and none of them says why")
    if code in _KILLED and (verdict := _pod_failure(pod)):
        return verdict
    return _spoken(first, _unspoken(first))


def _spoken(status: Mapping[str, Any], otherwise: str) -> contract.Failure:
    """What the container said, clamped; else what its exit code says."""
    try:
        value = contract.decode_result(_message(status))
    except contract.ContractError:
        value = None
    if not isinstance(value, contract.Failure):
        return contract.Failure(_BY_CODE.get(_exit_code(status) or 0, "InfrastructureFailed"), otherwise)
    reason = value.reason
    if reason not in _allowed(status["name"]):
        reason = "RunFailed" if status["name"] == contract.BUILD else "InfrastructureFailed"
    return dataclasses.replace(
        value, reason=reason, message=_clean(value.message), hint=_clean(value.hint), file=_clean(value.file)[:200]
    )


def _allowed(container: str) -> frozenset[str]:
    if container == contract.BUILD:
        return _OF_BUILD
    return contract.NO_RETRY | contract.HEALS_OUTSIDE | contract.RETRIED


def _unspoken(status: Mapping[str, Any]) -> str:
    terminated = _terminated(status)
    tail = _clean(_message(status))[-600:]
    text = f"container {status['name']} ended with code {terminated.get('exitCode')}"
    text += f" ({terminated['reason']})" if terminated.get("reason") not in (None, "Error") else ""
    return f"{text}: {tail}" if tail else text


def _out_of_memory(pod: kube.Object, status: Mapping[str, Any]) -> contract.Failure:
    limit = _limit(pod, status["name"], "memory")
    return contract.Failure(
        "OutOfMemory",
        f"container {status['name']} used more memory than its limit{f' of {limit}' if limit else ''}",
        hint="raise spec.pod.resources.limits.memory",
    )


def _pod_failure(pod: kube.Object) -> Verdict | None:
    """What the kubelet or the node controller says of the pod as a whole."""
    status = pod.get("status") or {}
    reason, message = status.get("reason", ""), _clean(status.get("message", ""))
    if _node_lost(pod):
        return _infrastructure(f"node {_node(pod)} was lost")
    if _phase(pod) != "Failed":
        return None
    if reason == "Evicted":
        return _evicted(message)
    if reason == "DeadlineExceeded" and not _ever_started(pod):
        return _infrastructure("the builder pod did not get to run before its deadline")
    if reason == "DeadlineExceeded":
        return contract.Failure(
            "DeadlineExceeded", "the build took longer than spec.timeout", hint="raise spec.timeout"
        )
    if reason:
        return _infrastructure(f"the pod failed on node {_node(pod)}: {reason}: {message}")
    return None if _our_statuses(pod) else _infrastructure(f"the pod failed on node {_node(pod)}: {message}")


def _evicted(message: str) -> contract.Failure:
    """A pod's own limits name themselves in the message; all other evictions are the node's trouble."""
    if "exceeds the" in message or "exceeds the limit" in message:
        return contract.Failure(
            "StorageLimitExceeded",
            f"the build used more disk than it may: {message}",
            hint="raise spec.pod.resources.limits.ephemeral-storage, or make the build smaller",
        )
    return _infrastructure(f"the pod was evicted: {message}")


def _deleted(pod: kube.Object, now: float) -> Verdict:
    """Somebody deleted the pod; its containers still have their grace."""
    meta = pod["metadata"]
    over = now > _time(meta["deletionTimestamp"]) + PATIENCE
    return Lost("the builder pod was deleted") if over else Running("the pod is being deleted")


def _stuck(
    pod: kube.Object, statuses: Sequence[Mapping[str, Any]], now: float, events: Sequence[kube.Object] | None
) -> Verdict | None:
    if verdict := _unscheduled(pod):
        return verdict
    waiting = [(s["name"], s["state"]["waiting"]) for s in statuses if (s.get("state") or {}).get("waiting")]
    for name, state in waiting:
        reason, message = state.get("reason", ""), _clean(state.get("message", ""))
        if reason in _IMAGE_REASONS:
            return Waiting("BuilderImagePullFailed", f"the node cannot pull the builder image: {message or reason}")
        if (
            reason.endswith("Error")
            and now - _since(pod) > CURIOUS * 2
            and name == contract.BUILD
            and _mounts_image(pod)
        ):
            return NoImageVolume(f"node {_node(pod)} cannot start the pod with its builder as a volume: {message}")
        if reason.endswith("Error") and now - _since(pod) > PATIENCE:
            return refusals.container(name, reason, message)
    unmounted = (waiting or not statuses) and all(
        state.get("reason") in (None, "", "ContainerCreating", "PodInitializing") for _, state in waiting
    )
    if unmounted and now - _since(pod) > CURIOUS * 2:
        return AskEvents(pod) if events is None else _unmounted(pod, events, now)
    return None


def _unmounted(pod: kube.Object, events: Sequence[kube.Object], now: float) -> Verdict | None:
    failures = [event for event in events if event.get("reason") in ("FailedMount", "FailedAttachVolume")]
    failures = [event for event in failures if "timed out waiting" not in _note(event)] or failures
    if not failures:
        return None
    if _mounts_image(pod) and (about := [_note(e) for e in failures if refusals.is_about_volume(BUILDER, _note(e))]):
        return NoImageVolume(f"node {_node(pod)} cannot mount the builder's image: {_clean(about[-1])}")
    failure = refusals.mount(_clean(_note(max(failures, key=_event_time))))
    if now - _since(pod) > PATIENCE:
        return failure
    return Running(f"the pod waits: {failure.message}")


def _mounts_image(pod: kube.Object) -> bool:
    return any(volume.get("image") for volume in (pod.get("spec") or {}).get("volumes") or ())


def _unscheduled(pod: kube.Object) -> Verdict | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = _clean(condition.get("message", ""))
            if condition.get("reason") == "Unschedulable":
                return Waiting("Unschedulable", f"no node takes the builder pod: {message}")
    return None


def _no_pod(job: kube.Object, now: float, events: Sequence[kube.Object] | None) -> Verdict:
    """The Job controller tells only in events why it makes no pod."""
    age = now - _created(job)
    if age < CURIOUS:
        return Running("the Job's pod is being made")
    if events is None:
        return AskEvents(job)
    refused = [event for event in events if event.get("reason") == "FailedCreate"]
    if refused:
        failure = refusals.creation(_clean(_note(max(refused, key=_event_time))))
        lasting = failure.reason != "InfrastructureFailed" or age > PATIENCE
        return failure if lasting else Running(f"the pod cannot be made yet: {failure.message}")
    return Running("the Job's pod is being made")


def _running(pod: kube.Object, statuses: Sequence[Mapping[str, Any]]) -> Running:
    running = [s["name"] for s in statuses if (s.get("state") or {}).get("running")]
    waiting = [s for s in statuses if _exit_code(s) is None and s["name"] not in running]
    if running and not waiting:
        return Running(f"pod {pod['metadata']['name']} runs on node {_node(pod)}", started=True)
    return Running(f"pod {pod['metadata']['name']} is starting")


def _infrastructure(message: str) -> contract.Failure:
    return contract.Failure("InfrastructureFailed", message, retryable=True)


def _our_statuses(pod: kube.Object) -> list[Mapping[str, Any]]:
    """Statuses of our own containers in the order install, fetch, build, push."""
    status = pod.get("status") or {}
    told = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    found = {s["name"]: s for s in told if s.get("name") in OURS}
    return [found[name] for name in OURS if name in found]


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("state") or {}).get("terminated") or {}


def _ever_started(pod: kube.Object) -> bool:
    """Whether any container of ours ran; the kubelet gives those that never did an end of an unknown kind."""
    return any(
        (s.get("state") or {}).get("running") or _terminated(s).get("reason") not in (None, "ContainerStatusUnknown")
        for s in _our_statuses(pod)
    )


def _exit_code(status: Mapping[str, Any]) -> int | None:
    terminated = _terminated(status)
    return int(terminated.get("exitCode", 0)) if terminated else None


def _message(status: Mapping[str, Any]) -> str:
    return str(_terminated(status).get("message") or "")


def _phase(pod: kube.Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def _node(pod: kube.Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "(none)")


def _node_lost(pod: kube.Object) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return True
    return any(
        c.get("type") == "DisruptionTarget"
        and c.get("status") == "True"
        and c.get("reason") == "DeletionByTaintManager"
        for c in status.get("conditions") or ()
    )


def _disrupted(pod: kube.Object) -> bool:
    """Preempted, drained, evicted by the node: the Job makes another pod, which is no attempt of its own."""
    if _phase(pod) not in ("Failed", "Unknown"):
        return False
    found = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "DisruptionTarget" and c.get("status") == "True" for c in found)


def _job_failed(job: kube.Object) -> bool:
    found = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Failed", "FailureTarget") and c.get("status") == "True" for c in found)


def _had_pods(job: kube.Object) -> bool:
    status = job.get("status") or {}
    return bool(status.get("failed") or status.get("succeeded") or _job_failed(job))


def _limit(pod: kube.Object, container: str, resource: str) -> str:
    for found in (pod.get("spec") or {}).get("containers") or ():
        if found.get("name") == container:
            return str(((found.get("resources") or {}).get("limits") or {}).get(resource, ""))
    return ""


def _since(pod: kube.Object) -> float:
    """When the kubelet took the pod, else when it was made."""
    return _time((pod.get("status") or {}).get("startTime")) or _created(pod)


def _created(body: kube.Object) -> float:
    return _time(body["metadata"].get("creationTimestamp"))


def _event_time(event: kube.Object) -> float:
    series = event.get("series") or {}
    return _time(series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime"))


def _note(event: kube.Object) -> str:
    return str(event.get("note") or event.get("message") or "")


def _time(text: Any) -> float:
    return conditions.unix(text) if isinstance(text, str) and text else 0.0


def _clean(text: str) -> str:
    """`text` fit for a status: no control characters, not too long, both ends kept."""
    text = _CONTROL.sub("", text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 3]}\n…\n{text[-_SHOWN * 2 // 3 :]}"
