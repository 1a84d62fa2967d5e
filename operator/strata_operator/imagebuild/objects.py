"""The Job of an attempt and the ConfigMaps that it mounts, as dicts. Pure.

ConfigMaps are immutable and named by their content, so that what a pod reads cannot change under it and two attempts
with the same content share one. Small contents are in the one that holds the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strata_builder import contract
from strata_operator import kube, names, settings
from strata_operator.imagebuild import kueue, mounts, pod, questions, request, spec
from strata_operator.imagebuild.case import Observed
from strata_operator.imagebuild.target import Target

_AUTOSCALER: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
#: Characters of inline contents that go with the request of each attempt: two ConfigMaps are twice as many writes.
_TOGETHER: Final = 64 << 10
_ISTIO: Final = "sidecar.istio.io/inject"


@dataclass(frozen=True, slots=True)
class Made:
    """All that is created for an attempt, in this order: ConfigMaps, then the Job."""

    config_maps: tuple[kube.Object, ...]
    job: kube.Object


def make(
    seen: Observed, to: Target, job: questions.Job, options: settings.Settings, *, resolv_conf: str, ca_bundle: str
) -> Made:
    """What `job` needs. `seen.body` must be the whole object; `ca_bundle` are the authorities to trust, in PEM."""
    wanted = spec.parse(seen.body)
    config_maps = _config_maps(seen, wanted, to, job, options, resolv_conf=resolv_conf, ca_bundle=ca_bundle)
    called = [body["metadata"]["name"] for body in config_maps]
    parts = mounts.Parts(
        request=called[0],
        contents=called[-1] if _contents(seen, wanted) else "",
        ca=bool(ca_bundle),
        registry_login=bool(((seen.registry or {}).get("status") or {}).get("credentials")),
        copied=job.copied,
    )
    return Made(tuple(config_maps), _job(seen, wanted, job, parts, called, options))


def for_admission(made: Made) -> Iterator[tuple[names.Resource, kube.Object]]:
    """All that an attempt comes to but its pod, each with its kind."""
    yield from ((names.CONFIGMAPS, body) for body in made.config_maps)
    yield names.JOBS, made.job


def pod_for_admission(job: kube.Object) -> kube.Object:
    """The pod that the Job controller would make of it, for a dry run: a pod of nobody's may be against the rules."""
    template, meta = job["spec"]["template"], job["metadata"]
    metadata = {**template["metadata"], "name": f"{meta['name'][:57]}-check", "namespace": meta["namespace"]}
    stand_in = meta["ownerReferences"][0]["uid"]  # the Job has none yet
    owner = {"apiVersion": names.JOBS.api_version, "kind": names.JOBS.kind, "name": meta["name"], "uid": stand_in}
    return {"metadata": metadata | {"ownerReferences": [owner | {"controller": True}]}, "spec": template["spec"]}


def is_ours(body: kube.Object, seen: Observed) -> bool:
    """Whether an object was made for this very ImageBuild."""
    return any(owner.get("uid") == seen.uid for owner in body["metadata"].get("ownerReferences") or ())


def _config_maps(
    seen: Observed,
    wanted: spec.Spec,
    to: Target,
    job: questions.Job,
    options: settings.Settings,
    *,
    resolv_conf: str,
    ca_bundle: str,
) -> list[kube.Object]:
    data = {
        "request.json": contract.encode(request.of(seen, wanted, to, job, options)),
        "hosts": pod.HOSTS,
        "resolv.conf": resolv_conf,
    }
    data |= {"ca.crt": ca_bundle} if ca_bundle else {}
    contents = _contents(seen, wanted)
    if sum(map(len, contents.values())) <= _TOGETHER:
        return [_config_map(seen, "request", data | contents)]
    return [_config_map(seen, "request", data), _config_map(seen, "files", contents)]


def _contents(seen: Observed, wanted: spec.Spec) -> dict[str, str]:
    """The inline files by key, and the inline Dockerfile."""
    fields = seen.body.get("spec") or {}
    files = (fields.get("source") or {}).get("inline") or {}
    data = {key: files[path] for path, key in request.file_keys(wanted)}
    if wanted.dockerfile_inline:
        data["Dockerfile"] = fields["dockerfile"]["inline"]
    return data


def _config_map(seen: Observed, kind: str, data: Mapping[str, str]) -> kube.Object:
    digest = names.short_hash(seen.uid, kind, spec.canonical(data), length=16)
    return {
        "metadata": {
            "name": names.derived("sib", seen.key.name, f"{kind}-{digest}"),
            "namespace": seen.key.namespace,
            "labels": _labels(seen),
            "ownerReferences": [_owner(seen)],
        },
        "immutable": True,
        "data": dict(data),
    }


def _job(
    seen: Observed,
    wanted: spec.Spec,
    job: questions.Job,
    parts: mounts.Parts,
    config_maps: list[str],
    options: settings.Settings,
) -> kube.Object:
    labels = _labels(seen) | {names.LABEL_BUILD_NUMBER: str(job.number)}
    queue = kueue.labels(seen.body, options.build_pod)
    annotations = {names.ANNOTATION_IMAGEBUILD: seen.key.name, names.ANNOTATION_INPUTS: job.inputs}
    own = {names.ANNOTATION_CONFIG_MAPS: ",".join(config_maps)}
    if queue:
        own[names.ANNOTATION_QUEUE] = kueue.asked(queue)
    return {
        "metadata": {
            "name": job.name,
            "namespace": seen.key.namespace,
            "labels": queue | labels,
            "annotations": annotations | own,
            "ownerReferences": [_owner(seen)],
        },
        "spec": {
            **({"suspend": True} if queue else {}),
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": _pod_metadata(wanted.pod, options.build_pod, labels, annotations),
                "spec": pod.spec_of(wanted, job.isolation, parts, options),
            },
        },
    }


def _pod_metadata(
    wanted: Mapping[str, Any], defaults: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> kube.Object:
    """Key by key: what Strata needs, then the spec's, then the chart's."""
    own, notes = ({**(defaults.get(name) or {}), **(wanted.get(name) or {})} for name in ("labels", "annotations"))
    return {
        "labels": {_ISTIO: "false", **kueue.without(own), **labels},
        "annotations": {_AUTOSCALER: "false", **notes, **annotations},
    }


def _labels(seen: Observed) -> dict[str, str]:
    return names.common_labels(names.COMPONENT_BUILDER) | {
        names.LABEL_IMAGEBUILD: names.label_value(seen.key.name),
        names.LABEL_IMAGEBUILD_UID: seen.uid,
    }


def _owner(seen: Observed) -> dict[str, Any]:
    return {
        "apiVersion": names.IMAGEBUILDS.api_version,
        "kind": names.IMAGEBUILDS.kind,
        "name": seen.key.name,
        "uid": seen.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
