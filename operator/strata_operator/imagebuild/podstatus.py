"""Reading a pod's status: its containers, times and texts. Pure; all of it may be hostile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions, kube

OURS: Final = (contract.INSTALL, contract.FETCH, contract.BUILD, contract.PUSH)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DELETED: Final = 60.0  # seconds after a pod's time to be gone, its grace included
_SHOWN: Final = 1500  # characters of a message


def ended(pod: kube.Object) -> bool:
    """Whether nothing of the pod can run any more, as far as this cluster can tell."""
    if phase(pod) in ("Succeeded", "Failed"):
        return True
    return node_lost(pod) or driven_away(pod)


def mounts_image(pod: kube.Object) -> bool:
    return any(volume.get("image") for volume in (pod.get("spec") or {}).get("volumes") or ())


def ours(pod: kube.Object) -> list[Mapping[str, Any]]:
    """Statuses of our own containers in the order install, fetch, build, push."""
    status = pod.get("status") or {}
    told = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    found = {s["name"]: s for s in told if s.get("name") in OURS}
    return [found[name] for name in OURS if name in found]


def injected(pod: kube.Object) -> list[Mapping[str, Any]]:
    """Statuses of the init containers that others have put into the pod: ours begin after them."""
    told = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return [s for s in told if s.get("name") not in OURS]


def terminated(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("state") or {}).get("terminated") or {}


def ever_started(pod: kube.Object) -> bool:
    """Whether any container of ours ran; the kubelet gives those that never did an end of an unknown kind."""
    return any(
        (s.get("state") or {}).get("running") or terminated(s).get("reason") not in (None, "ContainerStatusUnknown")
        for s in ours(pod)
    )


def exit_code(status: Mapping[str, Any]) -> int | None:
    found = terminated(status)
    return int(found.get("exitCode", 0)) if found else None


def message(status: Mapping[str, Any]) -> str:
    return str(terminated(status).get("message") or "")


def phase(pod: kube.Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def node(pod: kube.Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "(none)")


def node_lost(pod: kube.Object) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("phase") == "Unknown" or status.get("reason") == "NodeLost")


def driven_away(pod: kube.Object) -> bool:
    """Whether a taint has had it deleted: that of a node that is lost, or any other one of a node that lives."""
    return any(c.get("reason") == "DeletionByTaintManager" for c in _disruptions(pod))


def overdue(pod: kube.Object, now: float) -> bool:
    """Whether it is there long after it was to be gone: its node does not answer, or cannot end it."""
    deleted = time(pod["metadata"].get("deletionTimestamp"))
    return bool(deleted) and now > deleted + _DELETED


def disrupted(pod: kube.Object) -> bool:
    """Preempted, drained, evicted by the node: the Job makes another pod, which is no attempt of its own."""
    if phase(pod) not in ("Failed", "Unknown"):
        return False
    return bool(_disruptions(pod))


def _disruptions(pod: kube.Object) -> list[Mapping[str, Any]]:
    found = (pod.get("status") or {}).get("conditions") or ()
    return [c for c in found if c.get("type") == "DisruptionTarget" and c.get("status") == "True"]


def limit(pod: kube.Object, container: str, resource: str) -> str:
    for found in (pod.get("spec") or {}).get("containers") or ():
        if found.get("name") == container:
            return str(((found.get("resources") or {}).get("limits") or {}).get(resource, ""))
    return ""


def since(pod: kube.Object) -> float:
    """When the kubelet took the pod, else when it was made."""
    return time((pod.get("status") or {}).get("startTime")) or created(pod)


def created(body: kube.Object) -> float:
    return time(body["metadata"].get("creationTimestamp"))


def event_order(event: kube.Object) -> tuple[float, str]:
    """Sorts events of one object. Their times may be whole seconds; a name ends in the nanosecond it was made in."""
    series = event.get("series") or {}
    when = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return time(when), str((event.get("metadata") or {}).get("name") or "")


def note(event: kube.Object) -> str:
    return str(event.get("note") or event.get("message") or "")


def time(text: Any) -> float:
    return conditions.unix(text) if isinstance(text, str) and text else 0.0


def clean(text: str) -> str:
    """`text` fit for a status: no control characters, not too long, both ends kept."""
    text = _CONTROL.sub("", text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 3]}\n…\n{text[-_SHOWN * 2 // 3 :]}"
