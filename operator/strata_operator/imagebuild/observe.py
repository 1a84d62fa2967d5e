"""One look at the cache: all that the operator knows of an ImageBuild without asking anybody. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Final, cast

from strata_operator import cache, controller, kube, names
from strata_operator.imagebuild import destinations, kueue, limits, podstatus, state, tags
from strata_operator.imagebuild.case import Observed
from strata_operator.lanes import Lane
from strata_operator.registry import view

#: Names of indexes.
DESTINATION: Final = "destination"
SETTLED: Final = "settled"
ACTIVE: Final = "active"
OF_BUILD: Final = "imagebuild"
RUNS: Final = "runs"
QUEUED: Final = "queued"
STARTS: Final = "starts"
_ASKED: Final = {
    names.ANNOTATION_REBUILD: "lastHandledRebuild",
    names.ANNOTATION_NO_CACHE: "lastHandledNoCache",
    names.ANNOTATION_CANCEL: "lastHandledCancel",
}
_DONE: Final = (state.SUCCEEDED, state.FAILED, state.SUSPENDED, state.CANCELLED)


def observe(frame: controller.Frame, body: kube.Object, *, made: str = "") -> Observed:
    """What the cache holds about the ImageBuild `body`, for which this process has made the Job `made` last."""
    uid, (namespace, _) = cache.uid(body), kube.place(body)
    surrounding = frame.cache[names.NAMESPACES].get("", namespace)
    return Observed(
        body=body,
        registry=registry_of(frame, body),
        namespace=surrounding,
        paused=limits.paused(frame.settings.paused, surrounding),
        made=made,
        queue=kueue.asked(kueue.labels(body, frame.settings.build_pod)),
        jobs=tuple(frame.cache[names.JOBS].owned_by(uid)),
        pods=tuple(frame.cache[names.PODS].having(OF_BUILD, uid)),
        config_maps=tuple(frame.cache[names.CONFIGMAPS].owned_by(uid)),
    )


def busy(frame: controller.Frame) -> Iterator[names.Key]:
    """ImageBuilds that have a builder pod which may still run."""
    for pod in frame.cache[names.PODS].having(RUNS, True):
        yield from (key for _, key in wakes_of_pod(pod))


def lingers(frame: controller.Frame, key: names.Key) -> bool:
    """Whether the ImageBuild `key`, which may be gone, has a builder pod that may still run."""
    return bool(frame.cache[names.PODS].keys(RUNS, key))


def lane(frame: controller.Frame) -> Callable[[names.Key], Lane]:
    """Who goes first in the queue: what has a Job, and last what was built or has failed and was not touched since."""

    def found(key: names.Key) -> Lane:
        builds = frame.cache[names.IMAGEBUILDS]
        if builds.has(SETTLED, True, key):
            return Lane.SETTLED
        return Lane.RUNNING if builds.has(ACTIVE, True, key) else Lane.OPEN

    return found


def _is_settled(body: kube.Object) -> bool:
    meta, status = body["metadata"], body.get("status") or {}
    notes = meta.get("annotations") or {}
    asked = [notes.get(name, "") for name in _ASKED]
    handled = [status.get(name, "") for name in _ASKED.values()]
    done = _current(body).get("phase") in _DONE
    same = status.get("observedGeneration") == meta.get("generation") and asked == handled
    return done and same and not meta.get("deletionTimestamp")


def is_active(frame: controller.Frame, body: kube.Object) -> bool:
    """Whether the status of an ImageBuild says that it has a Job, or is about to have one; a suspended Job is none."""
    job = frame.cache[names.JOBS].get(body["metadata"]["namespace"], str(_current(body).get("job") or ""))
    return _is_active(body) and not kueue.is_suspended(job)


def _is_active(body: kube.Object) -> bool:
    return _current(body).get("phase") in state.ACTIVE


class Starts(cache.Index):
    """When the newest build of each ImageBuild was started."""

    def __init__(self) -> None:
        super().__init__(
            lambda body: ((body["metadata"]["namespace"], started),) if (started := _started(body)) else ()
        )

    def turns(self) -> list[str]:
        """Namespaces in the order in which they were given their newest places."""
        newest: dict[str, str] = {}
        for value in self._keys:
            namespace, started = cast("tuple[str, str]", value)
            newest[namespace] = max(newest.get(namespace, ""), started)
        return sorted(newest, key=lambda namespace: (newest[namespace], namespace))


def turns(frame: controller.Frame) -> list[str]:
    """As Starts.turns."""
    found = frame.cache[names.IMAGEBUILDS].index(STARTS)
    assert isinstance(found, Starts)
    return found.turns()


def _started(body: kube.Object) -> str:
    return str(_current(body).get("startTime") or "")


def _current(body: kube.Object) -> kube.Object:
    found: kube.Object = (body.get("status") or {}).get("current") or {}
    return found


def wakes_of_pod(pod: kube.Object) -> list[tuple[str, names.Key]]:
    """The ImageBuild that a builder pod works for."""
    meta = pod["metadata"]
    name = (meta.get("annotations") or {}).get(names.ANNOTATION_IMAGEBUILD)
    return [("imagebuild", names.Key(meta["namespace"], name))] if name else []


def rivals(frame: controller.Frame, seen: Observed, repository: str) -> tuple[tags.Rival, ...]:
    """Other ImageBuilds that write to `repository` of the same Registry; one that is being deleted writes no more."""
    if seen.registry is None:
        return ()
    registry = view.view(seen.registry)

    def resolve(namespace: str, name: str, wanted: str) -> str:
        return _repository(registry, namespace, name, wanted)

    template = registry.registry.access.template
    found = _destinations(frame).writers(registry.registry.key, repository, template, resolve)
    others = (frame.cache[names.IMAGEBUILDS].get(*key) for key in found if key != seen.key)
    return tuple(_rival(other, seen) for other in others if other and not other["metadata"].get("deletionTimestamp"))


def _rival(other: kube.Object, seen: Observed) -> tags.Rival:
    written = tuple((other.get("status") or {}).get("tags") or ())
    wanted = ((other.get("spec") or {}).get("output") or {}).get("tags", ("latest",))
    older = _age(other) < _age(seen.body)
    return tags.Rival(str(kube.place(other)), older, tags.literal(wanted) + written)


def _age(body: kube.Object) -> tuple[str, str]:
    return str(body["metadata"].get("creationTimestamp") or ""), cache.uid(body)


def _repository(registry: view.View, namespace: str, name: str, wanted: str) -> str:
    """Where an ImageBuild writes to, empty if it may not."""
    try:
        return registry.repository(namespace, name, wanted)
    except ValueError:
        return ""


def registry_of(frame: controller.Frame, body: kube.Object) -> kube.Object | None:
    """The Registry that an ImageBuild names."""
    return frame.cache[names.REGISTRIES].get(*destinations.registry_of(body))


def _destinations(frame: controller.Frame) -> destinations.Destinations:
    found = frame.cache[names.IMAGEBUILDS].index(DESTINATION)
    assert isinstance(found, destinations.Destinations)
    return found


def builds_of_registry(frame: controller.Frame) -> controller.Wakes:
    """Wakes the ImageBuilds that name a Registry."""
    return lambda body: (("imagebuild", key) for key in _destinations(frame).of_registry(kube.place(body)))


def builds_of_namespace(frame: controller.Frame) -> controller.Wakes:
    """Wakes the ImageBuilds of a namespace: its labels decide what it admits."""
    builds = names.IMAGEBUILDS
    return lambda body: (("imagebuild", key) for key in frame.cache[builds].keys_of_namespace(body["metadata"]["name"]))


def indexes() -> dict[str, cache.Index]:
    """Of the store of ImageBuilds."""
    return {
        DESTINATION: destinations.Destinations(),
        SETTLED: cache.Index(lambda body: (True,) if _is_settled(body) else ()),
        ACTIVE: cache.Index(lambda body: (True,) if _is_active(body) else ()),
        QUEUED: cache.Index(lambda body: (True,) if _current(body).get("queuePosition") else ()),
        STARTS: Starts(),
    }


def pod_indexes() -> dict[str, cache.Index]:
    """Of the store of pods."""
    return {
        OF_BUILD: cache.Index(lambda pod: (_label(pod),) if _label(pod) else ()),
        RUNS: cache.Index(_runs),
    }


def _runs(pod: kube.Object) -> tuple[Hashable, ...]:
    """Of a builder pod that may still run: True, and its ImageBuild."""
    return () if not _label(pod) or podstatus.ended(pod) else (True, *(key for _, key in wakes_of_pod(pod)))


def _label(pod: kube.Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(names.LABEL_IMAGEBUILD_UID) or "")
