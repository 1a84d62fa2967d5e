"""What the kubelet and the node controller say of a builder pod as a whole. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

from strata_builder import contract
from strata_operator import kube
from strata_operator.imagebuild import podstatus

#: Of a container, of the pod, and of a volume, as the kubelet's eviction manager words them.
_OWN_LIMIT: Final = re.compile(r"exceeded its local ephemeral storage limit|exceeds the (total )?limit")
_EVICTIONS: Final = 3  # of one attempt
_SAID: Final = 12 << 10  # bytes of what all containers of a pod say that the kubelet keeps, in equal shares


def failure(pod: kube.Object) -> contract.Failure | None:
    """Why the pod has failed, if they say so."""
    status = pod.get("status") or {}
    reason, message = status.get("reason", ""), podstatus.clean(status.get("message", ""))
    if podstatus.node_lost(pod):
        return infrastructure(f"node {podstatus.node(pod)} was lost")
    if podstatus.phase(pod) != "Failed":
        return None
    if reason == "Evicted":
        return _evicted(message)
    if reason == "DeadlineExceeded" and not podstatus.ever_started(pod):
        return infrastructure("the builder pod did not get to run before its deadline")
    if reason == "DeadlineExceeded":
        return contract.Failure(
            "DeadlineExceeded", "the build took longer than spec.timeout", hint="raise spec.timeout"
        )
    if reason:
        return infrastructure(f"the pod failed on node {podstatus.node(pod)}: {reason}: {message}")
    if any(map(podstatus.exit_code, podstatus.ours(pod))):
        return None
    return infrastructure(f"the pod failed on node {podstatus.node(pod)}: {_others(pod) or message}")


def evictions(pods: Sequence[kube.Object]) -> contract.Failure | None:
    """Whether nodes have evicted pod after pod: then it is the build that they run out of memory or disk by."""
    found = [pod for pod in pods if (pod.get("status") or {}).get("reason") == "Evicted"]
    if len(found) < _EVICTIONS:
        return None
    last = podstatus.clean(max(found, key=podstatus.created)["status"].get("message", ""))
    text = f"{len(found)} pods were evicted one after another, the last one as {last}"
    hint = "raise spec.pod.resources.requests, so that a node with enough takes the build, or make the build smaller"
    return dataclasses.replace(infrastructure(text), hint=hint)


def _others(pod: kube.Object) -> str:
    """How an init container that is not ours has failed: none of ours starts after it."""
    failed = next(filter(podstatus.exit_code, podstatus.injected(pod)), None)
    if failed is None:
        return ""
    name, said = (podstatus.clean(text) for text in (str(failed.get("name")), podstatus.message(failed)))
    text = f"init container {name}, which is not of Strata, ended with code {podstatus.exit_code(failed)}"
    return f"{text}: {said}" if said else text


def cut(pod: kube.Object, said: str) -> str:
    """Words for a result that the kubelet has cut to the share of its container, if it has."""
    lists = (
        (pod.get("spec") or {}).get(kind) or () for kind in ("initContainers", "containers", "ephemeralContainers")
    )
    count = sum(map(len, lists))
    if not count or len(said.encode()) < _SAID // count:
        return ""
    return (
        f"; the kubelet keeps {_SAID // count} bytes of it, for the pod has {count} containers: have fewer put into it"
    )


def infrastructure(message: str) -> contract.Failure:
    """A failure that is no fault of the build, and is tried again."""
    return contract.Failure("InfrastructureFailed", message, retryable=True)


def _evicted(message: str) -> contract.Failure:
    """A pod's own limits name themselves in the message; all other evictions are the node's trouble."""
    if _OWN_LIMIT.search(message):
        return contract.Failure(
            "StorageLimitExceeded",
            f"the build used more disk than it may: {message}",
            hint="raise spec.pod.resources.limits.ephemeral-storage, or make the build smaller",
        )
    return infrastructure(f"the pod was evicted: {message}")
