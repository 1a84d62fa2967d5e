"""One look at the cache: all that the operator knows of an ImageBuild without asking anybody. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from strata_operator import cache, controller, kube, names
from strata_operator.imagebuild import podstatus, state, tags
from strata_operator.imagebuild.case import Observed
from strata_operator.registry import view


def observe(frame: controller.Frame, body: kube.Object) -> Observed:
    """What the cache holds about the ImageBuild `body`."""
    uid, (namespace, _) = cache.uid(body), kube.place(body)
    return Observed(
        body=body,
        registry=registry_of(frame, body),
        namespace=frame.cache[names.NAMESPACES].get("", namespace),
        jobs=tuple(frame.cache[names.JOBS].owned_by(uid)),
        pods=tuple(pod for pod in frame.cache[names.PODS].in_namespace(namespace) if _label(pod) == uid),
        config_maps=tuple(frame.cache[names.CONFIGMAPS].owned_by(uid)),
    )


def busy(frame: controller.Frame) -> Iterator[names.Key]:
    """ImageBuilds that have a builder pod which may still run."""
    for pod in frame.cache[names.PODS].all():
        if _label(pod) and not podstatus.ended(pod):
            yield from (key for _, key in wakes_of_pod(pod))


def active(frame: controller.Frame) -> Iterator[names.Key]:
    """ImageBuilds whose status says that they have a Job, or are about to have one."""
    for body in frame.cache[names.IMAGEBUILDS].all():
        if ((body.get("status") or {}).get("current") or {}).get("phase") in state.ACTIVE:
            yield kube.place(body)


def wakes_of_pod(pod: kube.Object) -> list[tuple[str, names.Key]]:
    """The ImageBuild that a builder pod works for."""
    meta = pod["metadata"]
    name = (meta.get("annotations") or {}).get(names.ANNOTATION_IMAGEBUILD)
    return [("imagebuild", names.Key(meta["namespace"], name))] if name else []


def rivals(frame: controller.Frame, seen: Observed, repository: str) -> tuple[tags.Rival, ...]:
    """Other ImageBuilds that write to `repository` of the same Registry; one that is being deleted writes no more."""
    if seen.registry is None:
        return ()
    mine, registry = _registry_key(seen.body), view.view(seen.registry)
    return tuple(
        _rival(other, seen)
        for other in frame.cache[names.IMAGEBUILDS].all()
        if _registry_key(other) == mine
        and cache.uid(other) != seen.uid
        and not other["metadata"].get("deletionTimestamp")
        and _repository(registry, other) == repository
    )


def _rival(other: kube.Object, seen: Observed) -> tags.Rival:
    written = tuple((other.get("status") or {}).get("tags") or ())
    wanted = ((other.get("spec") or {}).get("output") or {}).get("tags", ("latest",))
    older = _age(other) < _age(seen.body)
    return tags.Rival(str(kube.place(other)), older, tags.literal(wanted) + written)


def _age(body: kube.Object) -> tuple[str, str]:
    return str(body["metadata"].get("creationTimestamp") or ""), cache.uid(body)


def _repository(registry: view.View, body: kube.Object) -> str:
    """Where an ImageBuild writes to, empty if it may not."""
    wanted = ((body.get("spec") or {}).get("output") or {}).get("repository", "")
    try:
        return registry.repository(*kube.place(body), wanted)
    except ValueError:
        return ""


def registry_of(frame: controller.Frame, body: kube.Object) -> kube.Object | None:
    """The Registry that an ImageBuild names."""
    return frame.cache[names.REGISTRIES].get(*_registry_key(body))


def _registry_key(body: kube.Object) -> names.Key:
    wanted = (((body.get("spec") or {}).get("output") or {}).get("registry")) or {}
    return names.Key(wanted.get("namespace") or body["metadata"]["namespace"], wanted.get("name", ""))


def builds_of_registry(frame: controller.Frame) -> controller.Wakes:
    """Wakes the ImageBuilds that name a Registry."""

    def wakes(registry: kube.Object) -> Iterator[tuple[str, names.Key]]:
        key = kube.place(registry)
        for body in frame.cache[names.IMAGEBUILDS].all():
            if _registry_key(body) == key:
                yield "imagebuild", kube.place(body)

    return wakes


def builds_of_namespace(frame: controller.Frame) -> controller.Wakes:
    """Wakes the ImageBuilds of a namespace: its labels decide what it admits."""

    def wakes(namespace: kube.Object) -> Iterator[tuple[str, names.Key]]:
        for body in frame.cache[names.IMAGEBUILDS].in_namespace(namespace["metadata"]["name"]):
            yield "imagebuild", kube.place(body)

    return wakes


def _label(pod: kube.Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(names.LABEL_IMAGEBUILD_UID) or "")
