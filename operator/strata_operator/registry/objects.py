"""The objects that make a managed Registry, as dicts for server-side apply. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_operator import kube, names, settings
from strata_operator.registry import material, spec

CONFIG_FOLDER: Final = "/etc/strata-registry/config"
AUTH_FOLDER: Final = "/etc/strata-registry/auth"
TLS_FOLDER: Final = "/etc/strata-registry/tls"
DATA_FOLDER: Final = "/var/lib/registry"
DRAIN_SECONDS: Final = 120  # uploads in flight at SIGTERM are given this long
GRACE_SECONDS: Final = DRAIN_SECONDS + 10
USER: Final = 65532
_RESOURCES: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


def serving_hosts(registry: spec.Registry, cluster_domain: str) -> list[str]:
    """The names in the serving certificate."""
    short = f"{registry.child}.{registry.namespace}"
    return [registry.service_host(cluster_domain), f"{short}.svc", short, registry.child, "localhost"]


def children(
    registry: spec.Registry, secrets: material.Material, options: settings.Settings
) -> list[tuple[names.Resource, kube.Object]]:
    """Everything but the two Secrets, in the order in which it is to be applied."""
    return [
        (names.CONFIGMAPS, config_map(registry)),
        (names.VOLUME_CLAIMS, volume_claim(registry)),
        (names.SERVICES, service(registry)),
        (names.NETWORK_POLICIES, network_policy(registry, options)),
        (names.DEPLOYMENTS, deployment(registry, secrets, options)),
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


def config() -> str:
    """config.yml of distribution v3 (JSON is YAML). Paths are those of the pod.

    No descriptor cache: with one, an upload beside a garbage collection can end in a corrupt image. redirect is off,
    for nodes and builders may not reach the storage server that they would be sent to.
    """
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": DATA_FOLDER},
                "delete": {"enabled": True},
                "redirect": {"disable": True},
                "maintenance": {"uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False}},
            },
            "http": {
                "addr": f":{names.REGISTRY_PORT}",
                "relativeurls": True,
                "draintimeout": f"{DRAIN_SECONDS}s",
                "tls": {
                    "certificate": f"{TLS_FOLDER}/tls.crt",
                    "key": f"{TLS_FOLDER}/tls.key",
                    "minimumtls": "tls1.2",
                },
                "headers": {"X-Content-Type-Options": ["nosniff"]},
            },
            "auth": {"htpasswd": {"realm": "strata", "path": f"{AUTH_FOLDER}/htpasswd"}},
            "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
        },
        indent=2,
        sort_keys=True,
    )


def config_map(registry: spec.Registry) -> kube.Object:
    return {"metadata": _meta(registry), "data": {"config.yml": config()}}


def volume_claim(registry: spec.Registry) -> kube.Object:
    """Not owned unless it is to go with the Registry: by its name and label the next Registry so named finds it."""
    managed = _managed(registry)
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": managed.size}},
    }
    if managed.storage_class:
        claim["storageClassName"] = managed.storage_class
    return {"metadata": _meta(registry, owned=not managed.keep_volume), "spec": claim}


def service(registry: spec.Registry) -> kube.Object:
    port = {"name": "registry", "port": names.REGISTRY_PORT, "targetPort": "registry", "protocol": "TCP"}
    return {"metadata": _meta(registry), "spec": {"selector": selector(registry), "ports": [port]}}


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
        "metadata": _meta(registry),
        "spec": {
            "podSelector": {"matchLabels": selector(registry)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"port": "registry", "protocol": "TCP"}]}],
        },
    }


def deployment(registry: spec.Registry, secrets: material.Material, options: settings.Settings) -> kube.Object:
    """One pod; Recreate, for two cannot mount one ReadWriteOnce volume. The htpasswd file is not in the hash: the
    server reads it again by itself, and passwords change without a restart."""
    restarts_on = names.short_hash(config(), secrets.serving.certificate, secrets.http_secret, length=16)
    return {
        "metadata": _meta(registry),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(registry)},
            "template": {
                "metadata": {
                    "labels": _labels(registry) | selector(registry),
                    "annotations": {names.ANNOTATION_CONFIG_HASH: restarts_on},
                },
                "spec": _pod(registry, options),
            },
        },
    }


def _pod(registry: spec.Registry, options: settings.Settings) -> dict[str, Any]:
    managed = _managed(registry)
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(registry, managed.image or options.registry_image)],
        "volumes": _volumes(registry),
    }
    if managed.node_selector:
        pod["nodeSelector"] = dict(managed.node_selector)
    if managed.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in managed.tolerations]
    return pod


def _container(registry: spec.Registry, image: str) -> dict[str, Any]:
    http_secret = {"name": names.SECRET_REGISTRY, "key": f"{registry.name}.{material.KEY_HTTP_SECRET}"}
    return {
        "name": "registry",
        "image": image,
        "command": ["registry", "serve", f"{CONFIG_FOLDER}/config.yml"],
        "env": [
            {"name": "REGISTRY_HTTP_SECRET", "valueFrom": {"secretKeyRef": http_secret}},
            {"name": "OTEL_TRACES_EXPORTER", "value": "none"},
        ],
        "ports": [{"name": "registry", "containerPort": names.REGISTRY_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/", "port": "registry", "scheme": "HTTPS"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
        },
        # Not "/": it turns 503 when storage blinks, and a restart would only add to that.
        "livenessProbe": {"tcpSocket": {"port": "registry"}, "periodSeconds": 20, "timeoutSeconds": 5},
        "resources": dict(_managed(registry).resources or _RESOURCES),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "auth", "mountPath": AUTH_FOLDER, "readOnly": True},
            {"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True},
            {"name": "data", "mountPath": DATA_FOLDER},
        ],
    }


def _volumes(registry: spec.Registry) -> list[dict[str, Any]]:
    return [
        {"name": "config", "configMap": {"name": registry.child}},
        _items("auth", registry, {material.KEY_HTPASSWD: "htpasswd"}),
        _items("tls", registry, {material.KEY_CERTIFICATE: "tls.crt", material.KEY_KEY: "tls.key"}),
        {"name": "data", "persistentVolumeClaim": {"claimName": registry.child}},
    ]


def _items(volume: str, registry: spec.Registry, files: Mapping[str, str]) -> dict[str, Any]:
    """Only this Registry's keys, and never subPath: the kubelet replaces the files of whole volumes alone."""
    items = [{"key": f"{registry.name}.{key}", "path": path} for key, path in files.items()]
    return {"name": volume, "secret": {"secretName": names.SECRET_SERVING, "items": items, "defaultMode": 0o440}}


def selector(registry: spec.Registry) -> dict[str, str]:
    """What the Service and the Deployment select; never changes, for a Deployment's selector cannot."""
    return {names.LABEL_COMPONENT: names.COMPONENT_REGISTRY, names.LABEL_REGISTRY: registry.name}


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


def _managed(registry: spec.Registry) -> spec.Managed:
    if registry.managed is None:
        raise ValueError(f"Registry {registry.key} is not managed")
    return registry.managed


def _labels(registry: spec.Registry) -> dict[str, str]:
    return names.common_labels(names.COMPONENT_REGISTRY, registry.name) | {
        names.LABEL_REGISTRY: registry.name,
        names.LABEL_REGISTRY_UID: registry.uid,
    }


def _meta(registry: spec.Registry, *, owned: bool = True) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": registry.child,
        "namespace": registry.namespace,
        "labels": _labels(registry),
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
