"""Why a pod does not start: what the scheduler, the kubelet and the Job controller say of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from strata_builder import contract
from strata_operator import kube
from strata_operator.imagebuild import kueue, podstatus, refusals, verdicts

#: Seconds that a pod or container may be stuck before that is a failure; the kubelet itself tries again meanwhile.
PATIENCE: Final = 60.0
#: Seconds without a pod, or of a pod that does not start, before its events are read.
CURIOUS: Final = 5.0
BUILDER: Final = "builder"  # the volume of InPlace that holds the builder
_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
#: Events of a pod all of whose volumes are mounted, and of one that has its sandbox, too.
_NO_SANDBOX: Final = "FailedCreatePodSandBox"
_BEGUN: Final = frozenset({"Pulling", "Pulled", "Created", "Started"})
_QUIET: Final = frozenset({None, "", "ContainerCreating", "PodInitializing"})  # a container that waits as it should


def stuck(
    pod: kube.Object, statuses: Sequence[Mapping[str, Any]], now: float, events: Sequence[kube.Object] | None
) -> verdicts.Verdict | None:
    """What the pod waits for, if it is more than its time; AskEvents where only its events can tell."""
    if verdict := _unscheduled(pod, now):
        return verdict
    waiting = [(s["name"], s["state"]["waiting"]) for s in statuses if (s.get("state") or {}).get("waiting")]
    for name, state in waiting:
        reason, message = state.get("reason", ""), podstatus.clean(state.get("message", ""))
        if verdict := _held_up(pod, name, reason, message, now - podstatus.since(pod)):
            return verdict
    if len(waiting) == len(statuses) and (held_up := _injected(pod)):
        return held_up
    unmounted = (waiting or not statuses) and all(state.get("reason") in _QUIET for _, state in waiting)
    if unmounted and now - podstatus.since(pod) > CURIOUS * 2:
        return verdicts.AskEvents(pod) if events is None else _unmounted(pod, events, now)
    return None


def _held_up(pod: kube.Object, name: str, reason: str, message: str, seconds: float) -> verdicts.Verdict | None:
    """A container that waits for `reason` in a pod that began `seconds` ago."""
    if reason in _IMAGE_REASONS:
        return verdicts.Waiting(
            "BuilderImagePullFailed", f"the node cannot pull the builder image: {message or reason}"
        )
    if not reason.endswith("Error"):
        return None
    if seconds > CURIOUS * 2 and name == contract.BUILD and podstatus.mounts_image(pod):
        where = f"node {podstatus.node(pod)}"
        return verdicts.NoImageVolume(f"{where} cannot start the pod with its builder as a volume: {message}")
    return refusals.container(name, reason, message) if seconds > PATIENCE else None


def _injected(pod: kube.Object) -> verdicts.Running | None:
    """What holds up an init container that an admission webhook has put before ours, as that of a service mesh."""
    for status in podstatus.injected(pod):
        state = (status.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in _QUIET:
            text = podstatus.clean(f"{state['reason']}: {state.get('message', '')}".removesuffix(": "))
            who = podstatus.clean(str(status.get("name")))
            return verdicts.Running(f"the pod waits for init container {who}, which is not of Strata: {text}")
    return None


def _unmounted(pod: kube.Object, events: Sequence[kube.Object], now: float) -> verdicts.Verdict | None:
    failures = _newest(events, {"FailedMount", "FailedAttachVolume"}, {_NO_SANDBOX, *_BEGUN})
    failures = [event for event in failures if "timed out waiting" not in podstatus.note(event)] or failures
    if not failures:
        return _without_sandbox(events)
    about = [note for e in failures if refusals.is_about_volume(BUILDER, note := podstatus.note(e))]
    if about and podstatus.mounts_image(pod):
        where = f"node {podstatus.node(pod)}"
        return verdicts.NoImageVolume(f"{where} cannot mount the builder's image: {podstatus.clean(about[-1])}")
    failure = refusals.mount(podstatus.clean(podstatus.note(max(failures, key=podstatus.event_order))))
    if now - podstatus.since(pod) > PATIENCE:
        return failure
    return verdicts.Running(f"the pod waits: {failure.message}")


def _newest(events: Sequence[kube.Object], reasons: Collection[str], past: Collection[str]) -> list[kube.Object]:
    """Those of `reasons` that no event of `past` has followed: they are kept for an hour, whatever has come of them."""
    over = max((podstatus.event_order(e) for e in events if e.get("reason") in past), default=(0.0, ""))
    return [event for event in events if event.get("reason") in reasons and podstatus.event_order(event) > over]


def _without_sandbox(events: Sequence[kube.Object]) -> verdicts.Verdict | None:
    """The node gives the pod no network, or not the namespaces that it asks for; it goes on trying."""
    failures = _newest(events, {_NO_SANDBOX}, _BEGUN)
    if not failures:
        return None
    text = podstatus.clean(podstatus.note(max(failures, key=podstatus.event_order)))
    return refusals.sandbox(text) or verdicts.Running(f"the pod waits: {text}")


def _unscheduled(pod: kube.Object, now: float) -> verdicts.Verdict | None:
    """No node takes the pod, it is held back from the scheduler, or there is none that would look at it."""
    found = [c for c in (pod.get("status") or {}).get("conditions") or () if c.get("type") == "PodScheduled"]
    if not found and not (pod.get("spec") or {}).get("nodeName") and now - podstatus.since(pod) > PATIENCE / 2:
        name = podstatus.clean(str((pod.get("spec") or {}).get("schedulerName") or "default-scheduler"))
        return verdicts.Waiting("Unschedulable", f"no scheduler has looked at the builder pod; its scheduler is {name}")
    if not found or found[0].get("status") != "False":
        return None
    reason, message = str(found[0].get("reason") or ""), podstatus.clean(found[0].get("message", ""))
    if reason == "Unschedulable":
        return verdicts.Waiting(reason, f"no node takes the builder pod: {message}")
    return verdicts.Waiting("Unschedulable", f"the builder pod is not scheduled: {podstatus.clean(reason)}: {message}")


def no_pod(job: kube.Object, now: float, events: Sequence[kube.Object] | None) -> verdicts.Verdict:
    """The Job controller tells only in events why it makes no pod."""
    age = now - kueue.begun(job)
    if age < CURIOUS:
        return verdicts.Running("the Job's pod is being made")
    if events is None:
        return verdicts.AskEvents(job)
    refused = _newest(events, {"FailedCreate"}, {"SuccessfulCreate"})
    if refused:
        failure = refusals.creation(podstatus.clean(podstatus.note(max(refused, key=podstatus.event_order))))
        lasting = failure.reason != "InfrastructureFailed" or age > PATIENCE
        return failure if lasting else verdicts.Running(f"the pod cannot be made yet: {failure.message}")
    return verdicts.Running("the Job's pod is being made")


def running(pod: kube.Object, statuses: Sequence[Mapping[str, Any]]) -> verdicts.Running:
    """How far a pod is that has not ended."""
    up = [s["name"] for s in statuses if (s.get("state") or {}).get("running")]
    waiting = [s for s in statuses if podstatus.exit_code(s) is None and s["name"] not in up]
    if up and not waiting:
        return verdicts.Running(f"pod {pod['metadata']['name']} runs on node {podstatus.node(pod)}", started=True)
    return verdicts.Running(f"pod {pod['metadata']['name']} is starting")
