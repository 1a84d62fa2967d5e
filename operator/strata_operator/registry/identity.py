"""Names, labels and owner of what is made for a managed Registry. Pure."""

from __future__ import annotations

from typing import Any

from strata_operator import names
from strata_operator.registry import spec


def selector(registry: spec.Registry) -> dict[str, str]:
    """What the Service and the Deployment select; never changes, for a Deployment's selector cannot."""
    return {names.LABEL_COMPONENT: names.COMPONENT_REGISTRY, names.LABEL_REGISTRY: registry.name}


def managed(registry: spec.Registry) -> spec.Managed:
    if registry.managed is None:
        raise ValueError(f"Registry {registry.key} is not managed")
    return registry.managed


def labels(registry: spec.Registry) -> dict[str, str]:
    return names.common_labels(names.COMPONENT_REGISTRY) | {
        names.LABEL_REGISTRY: registry.name,
        names.LABEL_REGISTRY_UID: registry.uid,
    }


def pod_labels(registry: spec.Registry) -> dict[str, str]:
    """Those of `labels`, and app.kubernetes.io/instance, which pods keep: without it each upgrade would restart them."""
    return {names.LABEL_INSTANCE: names.label_value(registry.name)} | labels(registry) | selector(registry)


def metadata(registry: spec.Registry, *, owned: bool = True) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": registry.child,
        "namespace": registry.namespace,
        "labels": labels(registry),
    }
    if owned:
        meta["ownerReferences"] = [owner(registry)]
    return meta


def owner(registry: spec.Registry) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.REGISTRIES.kind,
        "name": registry.name,
        "uid": registry.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
