"""The Deployment of a managed Registry, its pod, and the configuration of the server in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from strata_operator import kube, names, settings
from strata_operator.registry import identity, material, notices, spec

CONFIG_FOLDER: Final = "/etc/strata-registry/config"
AUTH_FOLDER: Final = "/etc/strata-registry/auth"
TLS_FOLDER: Final = "/etc/strata-registry/tls"
DATA_FOLDER: Final = "/var/lib/registry"
DRAIN_SECONDS: Final = 120  # uploads in flight at SIGTERM are given this long
GRACE_SECONDS: Final = DRAIN_SECONDS + 10
USER: Final = 65532
_RESOURCES: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


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


def deployment(registry: spec.Registry, secrets: material.Material, options: settings.Settings) -> kube.Object:
    """One pod; Recreate, for two cannot mount one ReadWriteOnce volume. The htpasswd file is not in the hash: the
    server reads it again by itself, and passwords change without a restart."""
    read_once = [secrets.notify] if options.registry_notifications else []
    restarts_on = names.short_hash(config(), secrets.serving.certificate, secrets.http_secret, *read_once, length=16)
    return {
        "metadata": identity.metadata(registry),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": identity.selector(registry)},
            "template": {
                "metadata": {
                    "labels": identity.pod_labels(registry),
                    "annotations": {names.ANNOTATION_CONFIG_HASH: restarts_on},
                },
                "spec": _pod(registry, options),
            },
        },
    }


def _pod(registry: spec.Registry, options: settings.Settings) -> dict[str, Any]:
    managed = identity.managed(registry)
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
        "containers": [
            _container(registry, managed.image or options.registry_image, notices.environment(registry, options))
        ],
        "volumes": _volumes(registry),
    }
    if options.registry_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in options.registry_pull_secrets]
    if managed.node_selector:
        pod["nodeSelector"] = dict(managed.node_selector)
    if managed.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in managed.tolerations]
    return pod


def _container(registry: spec.Registry, image: str, more: list[dict[str, Any]]) -> dict[str, Any]:
    """`more` are environment variables beside those that every registry has."""
    http_secret = {"name": names.SECRET_REGISTRY, "key": f"{registry.name}.{material.KEY_HTTP_SECRET}"}
    return {
        "name": "registry",
        "image": image,
        "command": ["registry", "serve", f"{CONFIG_FOLDER}/config.yml"],
        "env": [
            {"name": "REGISTRY_HTTP_SECRET", "valueFrom": {"secretKeyRef": http_secret}},
            {"name": "OTEL_TRACES_EXPORTER", "value": "none"},
            *more,
        ],
        "ports": [{"name": "registry", "containerPort": names.REGISTRY_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/", "port": "registry", "scheme": "HTTPS"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
        },
        # Not "/": it turns 503 when storage blinks, and a restart would only add to that.
        "livenessProbe": {"tcpSocket": {"port": "registry"}, "periodSeconds": 20, "timeoutSeconds": 5},
        "resources": dict(identity.managed(registry).resources or _RESOURCES),
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
