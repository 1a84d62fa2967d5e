"""The objects that make a managed Registry, as dicts for server-side apply. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from strata_operator import kube, names, quantities, settings
from strata_operator.registry import identity, material, spec, workload


def serving_hosts(registry: spec.Registry, cluster_domain: str) -> list[str]:
    """The names in the serving certificate."""
    short = f"{registry.child}.{registry.namespace}"
    return [registry.service_host(cluster_domain), f"{short}.svc", short, registry.child, "localhost"]


def children(
    registry: spec.Registry, secrets: material.Material, options: settings.Settings, claim: kube.Object | None = None
) -> list[tuple[names.Resource, kube.Object]]:
    """Everything but the two Secrets, in the order in which it is to be applied. `claim` is the one that is there."""
    return [
        (names.CONFIGMAPS, config_map(registry)),
        (names.VOLUME_CLAIMS, volume_claim(registry, claim)),
        (names.SERVICES, service(registry)),
        (names.NETWORK_POLICIES, network_policy(registry, options)),
        (names.DEPLOYMENTS, workload.deployment(registry, secrets, options)),
    ]


def secret(registry: spec.Registry, name: str, data: Mapping[str, str]) -> kube.Object:
    """One Registry's part of a Secret that all Registries of its namespace share."""
    return {
        "metadata": {
            "name": name,
            "namespace": registry.namespace,
            "labels": names.common_labels(names.COMPONENT_REGISTRY),
        },
        "type": "Opaque",
        "data": material.encode(data),
    }


def config_map(registry: spec.Registry) -> kube.Object:
    return {"metadata": identity.metadata(registry), "data": {"config.yml": workload.config()}}


def volume_claim(registry: spec.Registry, there: kube.Object | None = None) -> kube.Object:
    """Not owned unless it is to go with the Registry: by its name and label the next Registry so named finds it. What has
    grown since stays as large: the API server lets no volume shrink, and would refuse the claim for ever."""
    managed = identity.managed(registry)
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": _larger(managed.size, there)}},
    }
    if managed.storage_class:
        claim["storageClassName"] = managed.storage_class
    return {"metadata": identity.metadata(registry, owned=not managed.keep_volume), "spec": claim}


def _larger(size: str, there: kube.Object | None) -> str:
    requests = (((there or {}).get("spec") or {}).get("resources") or {}).get("requests") or {}
    return max(size, str(requests.get("storage", "0")), key=quantities.amount)


def service(registry: spec.Registry) -> kube.Object:
    port = {"name": "registry", "port": names.REGISTRY_PORT, "targetPort": "registry", "protocol": "TCP"}
    return {"metadata": identity.metadata(registry), "spec": {"selector": identity.selector(registry), "ports": [port]}}


def network_policy(registry: spec.Registry, options: settings.Settings) -> kube.Object:
    """Only builders of the namespaces that have access, the operator and the nodes may connect."""
    builder = {"matchLabels": {names.LABEL_COMPONENT: names.COMPONENT_BUILDER}}
    operator = {"matchLabels": {names.LABEL_COMPONENT: names.COMPONENT_OPERATOR, names.LABEL_PART_OF: "strata"}}
    peers: list[dict[str, Any]] = [
        {"podSelector": builder},
        {"namespaceSelector": _namespace(options.namespace), "podSelector": operator},
        *([{"namespaceSelector": _namespace(options.node_proxy_namespace)}] if options.node_proxy else []),
        *({"ipBlock": {"cidr": cidr}} for cidr in options.node_cidrs),
    ]
    if registry.access.selector:
        peers.append({"namespaceSelector": {"matchLabels": dict(registry.access.selector)}, "podSelector": builder})
    return {
        "metadata": identity.metadata(registry),
        "spec": {
            "podSelector": {"matchLabels": identity.selector(registry)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"port": "registry", "protocol": "TCP"}]}],
        },
    }


def proxy_table(registries: Sequence[tuple[spec.Registry, str]], cluster_domain: str) -> str:
    """What the node proxies read: port -> where to and whom to trust. `registries` are (Registry, CA bundle)."""
    return json.dumps(
        {
            str(registry.managed.node_port): {
                "host": registry.service_host(cluster_domain),
                "port": names.REGISTRY_PORT,
                "caBundle": bundle,
            }
            for registry, bundle in registries
            if registry.managed and registry.managed.node_port
        },
        indent=1,
        sort_keys=True,
    )


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {names.LABEL_NAMESPACE_NAME: name}}
