"""The lines of a pod's containers in one order: all of them at once when it has ended, and as they come while it runs."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from strata_builder import contract
from strata_builder.buildlog import text
from strata_builder.cli.logs import kubectl

OURS: Final = (contract.INSTALL, contract.FETCH, contract.BUILD, contract.PUSH)
WINDOW: Final = 0.3  # seconds in which a line of another container may come that was printed before
_AGAIN: Final = 0.5
_ROOM: Final = 10_000  # lines
#: What kubectl says of a container that is about to start.
_NOT_YET: Final = ("is waiting to start", "ContainerCreating", "PodInitializing", "not found in pod", "not available")
Pod = Mapping[str, Any]


def started(pod: Pod) -> list[str]:
    """Our containers that have a log, in the order of their roles. Pure."""
    status = pod.get("status") or {}
    told = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    states = {each.get("name"): each.get("state") or {} for each in told}
    return [name for name in OURS if {"running", "terminated"} & states.get(name, {}).keys()]


def named(pod: Pod) -> list[str]:
    """Our containers, whether they have started or not. Pure."""
    spec = pod.get("spec") or {}
    there = [each.get("name") for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))]
    return [name for name in OURS if name in there]


def ended(pod: Pod) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def so_far(cluster: kubectl.Kubectl, pod: Pod) -> Iterator[text.Line]:
    """What the containers have printed until now. Raises KubeError."""
    meta = pod["metadata"]
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(cluster.log(meta["name"], name, meta["namespace"])) for name in started(pod)
        }
        yield from text.merged({name: process.stdout or () for name, process in processes.items()})
        for name, process in processes.items():
            _, said = process.communicate()
            if process.returncode:
                raise kubectl.fault(said, f"the log of container {name}")


def as_it_comes(cluster: kubectl.Kubectl, pod: Pod) -> Iterator[text.Line]:
    """Every line until all containers have ended. Raises KubeError."""
    lines: queue.Queue[text.Line | BaseException | None] = queue.Queue(_ROOM)
    containers = named(pod)
    for name in containers:
        reader = threading.Thread(target=_read, args=(cluster, pod, name, lines), daemon=True)
        reader.start()
    try:
        yield from ordered(lines, len(containers))
    finally:
        cluster.stop()


def ordered(
    lines: queue.Queue[text.Line | BaseException | None],
    sources: int,
    *,
    window: float = WINDOW,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[text.Line]:
    """What comes from `lines`, by its time, each line `window` seconds after it came; until None has come from each of
    `sources`. An exception that comes is raised."""
    held: list[tuple[str, int, float, text.Line]] = []
    count = itertools.count()
    while sources or held:
        while held and (not sources or clock() - held[0][2] >= window):
            yield heapq.heappop(held)[3]
        if not sources:
            continue
        try:
            found = lines.get(timeout=window / 3 if held else None)
        except queue.Empty:
            continue
        if isinstance(found, BaseException):
            raise found
        if found is None:
            sources -= 1
        else:
            heapq.heappush(held, (text.moment(found.time), next(count), clock(), found))


def _read(
    cluster: kubectl.Kubectl, pod: Pod, container: str, to: queue.Queue[text.Line | BaseException | None]
) -> None:
    try:
        _read_when_started(cluster, pod, container, to)
    except BaseException as e:  # noqa: BLE001  raised where the lines are read
        to.put(e)
    else:
        to.put(None)


def _read_when_started(
    cluster: kubectl.Kubectl, pod: Pod, container: str, to: queue.Queue[text.Line | BaseException | None]
) -> None:
    """Tries again until the container has started, or never will, for its pod is over."""
    meta, over = pod["metadata"], False
    with contextlib.suppress(kubectl.NotFound):
        while not _read_once(cluster, pod, container, to) and not over:
            time.sleep(_AGAIN)
            over = ended(cluster.get("pods", meta["name"], meta["namespace"]))


def _read_once(
    cluster: kubectl.Kubectl, pod: Pod, container: str, to: queue.Queue[text.Line | BaseException | None]
) -> bool:
    """False for a container that has not started yet."""
    meta = pod["metadata"]
    seen = False
    with cluster.log(meta["name"], container, meta["namespace"], follow=True) as process:
        for line in text.of_container(container, process.stdout or ()):
            seen = True
            to.put(line)
        _, said = process.communicate()
    if not process.returncode or seen:
        return True
    failure = kubectl.fault(said, f"the log of container {container}")
    if isinstance(failure, kubectl.NotFound):
        return True  # the pod is gone, or was never to start
    if any(words in said for words in _NOT_YET):
        return False
    raise failure
