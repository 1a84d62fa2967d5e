"""What to say of a Registry, from what was observed. Pure: the clock and the cluster come in as values.

Reasons of Ready (closed list):

===================== =========== =====================================================================================
Serving               True        everything was checked a moment ago
Provisioning          Reconciling the pod is not up yet; the message says what it waits for
RollingOut            Reconciling a changed spec is on its way
Unreachable           Reconciling nothing answers, or not as a registry does
TLSNotTrusted         Stalled*    its certificate is not signed by whom we trust
AddressNotAllowed     Stalled     the host is one that the operator asks for nobody (addresses.py)
AnonymousAllowed      Stalled*    it serves strangers although it should not
CredentialsRejected   Stalled*    it refuses our credentials
PortConflict          Stalled     an older Registry has nodeAccess.port
NameTaken             Stalled     an object that is not ours has the name of one that we must make
ApplyRejected         Stalled     the API server refuses an object; the message is its own
RolloutFailed         Stalled     the pod does not come up
CredentialsNotReadable Stalled    the namespace does not let the operator read the Secret; the message has the command
CredentialsNotFound   Stalled     the Secret is not there, or has not the keys that it should
CABundleNotFound      Stalled     the same of the certificates
===================== =========== =====================================================================================

(* Reconciling for a managed Registry: the operator mends it.) All are looked at again by themselves.

NodeAccess is there only where nodes are to pull and cannot, and always False: NodeProxyDisabled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strata_operator import conditions
from strata_operator.registry import probe, spec

#: A busy machine may miss a question or two; builds should not be held up by that.
MISSES: Final = 3
NODE_ACCESS: Final = "NodeAccess"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that stops the work before the registry can be asked at all."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A managed Registry's children, as bodies of the cache, and the probe's answer if the pod was up to be asked."""

    registry: spec.Registry
    problem: Problem | None = None
    deployment: Mapping[str, Any] | None = None
    pods: Sequence[Mapping[str, Any]] = ()
    claim: Mapping[str, Any] | None = None
    probed: probe.Outcome | None = None
    was_ready: bool = False
    misses: int = 0  # failed probes in a row, this one included


def port_holder(registry: spec.Registry, others: Iterable[spec.Registry]) -> spec.Registry | None:
    """The older Registry that holds this one's node port; None if it is this one's."""
    port = registry.managed.node_port if registry.managed else None
    if port is None:
        return None
    rivals = [other for other in others if other.managed and other.managed.node_port == port]
    first = min([registry, *rivals], key=lambda r: (r.created, r.uid))
    return None if first.uid == registry.uid else first


def port_conflict(registry: spec.Registry, holder: spec.Registry) -> Problem:
    port = registry.managed.node_port if registry.managed else 0
    return Problem(
        "PortConflict",
        f"Registry {holder.key} already has port {port} on the nodes; set spec.managed.nodeAccess.port to another, "
        f"or nodeAccess.mode to None",
    )


def node_access(registry: spec.Registry, *, proxied: bool) -> list[conditions.Condition]:
    """What is to be said of a Registry that nodes are to pull from where there are no node proxies (not `proxied`)."""
    if proxied or registry.managed is None or registry.managed.node_port is None:
        return []
    text = (
        f"no node pulls from {registry.node_host}: the chart runs no node proxies, and images are named as pods of the "
        "cluster reach them. An administrator can set the chart's nodeProxy.enabled to true; where nodes reach the "
        "registry in another way, set spec.managed.nodeAccess.mode to None"
    )
    return [conditions.Condition(NODE_ACCESS, conditions.FALSE, "NodeProxyDisabled", text)]


def managed(seen: Observed) -> list[conditions.Condition]:
    """The conditions of a managed Registry."""
    if seen.problem:
        return conditions.stalled(seen.problem.reason, seen.problem.message)
    if waiting := rollout(seen):
        return waiting
    if seen.probed is None:
        return conditions.reconciling("Provisioning", "the registry is about to be asked for the first time")
    if seen.probed.anonymous:
        return conditions.reconciling("AnonymousAllowed", "the registry answers without credentials, it must not")
    if seen.probed.reason == "Unreachable" and seen.was_ready and seen.misses < MISSES:
        return conditions.ready("Serving", f"its pod is up, but the last question had no answer: {seen.probed.message}")
    if seen.probed.reason:
        return conditions.reconciling(seen.probed.reason, seen.probed.message)
    return conditions.ready(
        "Serving", "it refuses strangers, accepts our credentials, and its certificate is signed by its own authority"
    )


def external(
    registry: spec.External, problem: Problem | None, probed: probe.Outcome | None
) -> list[conditions.Condition]:
    """The conditions of an external Registry; exactly one of `problem` and `probed` is given."""
    if problem or probed is None:
        found = problem or Problem("Unreachable", "not asked yet")
        return conditions.stalled(found.reason, found.message)
    if probed.reason == "Unreachable":
        return conditions.reconciling(probed.reason, probed.message)
    if probed.reason:
        return conditions.stalled(probed.reason, probed.message)
    words = "it accepts our credentials" if registry.credentials_secret else "it needs no credentials"
    if probed.anonymous and registry.credentials_secret:
        words += "; it also answers without any"
    return conditions.ready("Serving", words)


def rollout(seen: Observed) -> list[conditions.Condition]:
    """Why the registry's pod cannot be asked yet; empty if it can."""
    body = seen.deployment
    if body is None:
        return conditions.reconciling("Provisioning", "the Deployment is being made")
    status, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) >= generation and status.get("updatedReplicas") and _available(status):
        return []
    why = _why(seen)
    failed = _find(status, "ReplicaFailure")
    progress = _find(status, "Progressing")
    if failed.get("status") == "True":
        return conditions.stalled("RolloutFailed", str(failed.get("message") or "the pod is refused"))
    if progress.get("status") == "False":
        return conditions.stalled("RolloutFailed", why or str(progress.get("message") or "the pod does not come up"))
    served_before = body["metadata"].get("generation", 1) > 1
    reason = "RollingOut" if served_before else "Provisioning"
    return conditions.reconciling(reason, why or "waiting for the registry's pod")


def _available(status: Mapping[str, Any]) -> bool:
    return bool(status.get("availableReplicas")) and not status.get("unavailableReplicas")


def _why(seen: Observed) -> str:
    """What the pod itself waits for, in the kubelet's or the scheduler's words."""
    for pod in seen.pods:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        scheduled = _find(status, "PodScheduled")
        if scheduled.get("status") == "False":
            return f"{scheduled.get('reason', '')}: {scheduled.get('message', '')}"
    phase = ((seen.claim or {}).get("status") or {}).get("phase")
    return f"the volume claim is {phase}" if phase and phase != "Bound" else ""


def _find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return conditions.find(status.get("conditions"), kind) or {}
