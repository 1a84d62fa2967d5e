"""Builds that Kueue admits: their Jobs are made suspended, and Kueue lets them go and takes them back. Pure.

A suspended Job is no failure and holds no place: it waits for Kueue. Times count from when it was let go last, and pods
that were ended before that do not count. https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from strata_operator import conditions, kube, names
from strata_operator.imagebuild import podstatus

QUEUE: Final = "kueue.x-k8s.io/queue-name"
#: Labels that are carried from the ImageBuild to its Job; on the pod they would have it queued once more by itself.
LABELS: Final = frozenset({QUEUE, "kueue.x-k8s.io/priority-class"})
#: What Kueue's events say of a Job that it lets go.
_LET_GO: Final = frozenset({"QuotaReserved", "Admitted"})
_WORKLOAD: Final = 57  # characters of a Workload's name that are made of its Job's: job-<name>, then a hash


def labels(body: kube.Object, defaults: Mapping[str, Any]) -> dict[str, str]:
    """Kueue's labels for a Job: of the ImageBuild itself, else of its spec.pod, else of the chart's builder pods."""
    pod = (body.get("spec") or {}).get("pod") or {}
    given = ((body.get("metadata") or {}).get("labels"), pod.get("labels"), defaults.get("labels"))
    found: dict[str, str] = {}
    for each in given:
        found = {key: str(value) for key, value in (each or {}).items() if key in LABELS} | found
    return found if found.get(QUEUE) else {}


def without(labels: Mapping[str, str]) -> dict[str, str]:
    """`labels` without Kueue's."""
    return {key: value for key, value in labels.items() if key not in LABELS}


def asked(labels: Mapping[str, str]) -> str:
    """Kueue's labels as text; empty without any. A Job keeps it, for others may change its labels."""
    return ",".join(f"{key.partition('/')[2]}={value}" for key, value in sorted(labels.items()))


def is_elsewhere(job: kube.Object, wanted: str) -> bool:
    """Whether the Job was made for other labels than `wanted` (`asked`), which the ImageBuild has by now."""
    made = (job["metadata"].get("annotations") or {}).get(names.ANNOTATION_QUEUE)
    return made is not None and made != wanted


def is_suspended(job: kube.Object | None) -> bool:
    return bool(((job or {}).get("spec") or {}).get("suspend"))


def waits_since(job: kube.Object) -> float:
    """Unix time since when a suspended Job waits: from its beginning, or from when it was taken back."""
    found = conditions.find((job.get("status") or {}).get("conditions"), "Suspended") or {}
    return podstatus.time(found.get("lastTransitionTime")) or podstatus.created(job)


def let_go(job: kube.Object) -> float:
    """Unix time since when the Job may run: 0 if it was never suspended."""
    found = conditions.find((job.get("status") or {}).get("conditions"), "Suspended") or {}
    return podstatus.time(found.get("lastTransitionTime")) if found.get("status") == conditions.FALSE else 0.0


def taken_back(pod: kube.Object, job: kube.Object) -> bool:
    """Whether the pod is one that the Job controller ended before the Job was let go last.

    That it was made earlier proves nothing: the controller makes the pod first and writes the condition then.
    """
    meta = pod["metadata"]
    if not meta.get("deletionTimestamp"):
        return False
    asked = podstatus.time(meta["deletionTimestamp"]) - float(meta.get("deletionGracePeriodSeconds") or 0)
    return asked <= let_go(job)


def begun(job: kube.Object) -> float:
    """Unix time from which on its pod is waited for."""
    return max(podstatus.created(job), let_go(job))


def said(job: kube.Object, events: Iterable[kube.Object]) -> str:
    """What Kueue's newest event says of why the Job's Workload waits; empty if there is none (they last an hour)."""
    name = re.compile(re.escape(f"job-{job['metadata']['name']}"[:_WORKLOAD]) + "-[0-9a-f]{5}")
    waiting = [event for event in events if event.get("reason") not in _LET_GO]  # that was before it was taken back
    mine = [event for event in waiting if name.fullmatch(str((event.get("regarding") or {}).get("name")))]
    newest = max(mine, key=podstatus.event_order, default=None)
    return podstatus.clean(podstatus.note(newest))[:500] if newest else ""


def is_queued(job: kube.Object) -> bool:
    """Whether Kueue is to admit the Job."""
    return bool((job["metadata"].get("labels") or {}).get(QUEUE))


def beginning(job: kube.Object) -> str:
    """How what is told of a Job in Kueue's queue begins."""
    queue = (job["metadata"].get("labels") or {}).get(QUEUE)
    return f"Kueue has not admitted Job {job['metadata']['name']} from LocalQueue {queue} yet"


def waits(job: kube.Object, note: str) -> str:
    """What is told of a suspended Job; `note` is what Kueue says."""
    meta = job["metadata"]
    if not is_queued(job):
        return f"Job {meta['name']} is suspended by somebody; it goes on when its spec.suspend is false"
    return f"{beginning(job)}: {note or 'kubectl describe workloads.kueue.x-k8s.io -n ' + meta['namespace']}"
