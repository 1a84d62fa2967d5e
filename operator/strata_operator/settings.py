"""What can be set from outside: environment variables with the prefix STRATA_, read once, into one frozen value.

A field `max_builds` is set by STRATA_MAX_BUILDS. Lists are comma separated, and so are the `key=value` pairs of maps;
switches are true or false; what has an inner structure is JSON.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from strata_operator.names import OPERATOR
from strata_operator.notifications import sinks

PREFIX: Final = "STRATA_"
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


_BUILD_REQUESTS: Final = {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "512Mi"}
_BUILD_LIMITS: Final = {"memory": "2Gi", "ephemeral-storage": "20Gi"}
_HELPER_REQUESTS: Final = {"cpu": "50m", "memory": "96Mi", "ephemeral-storage": "256Mi"}
_HELPER_LIMITS: Final = {"memory": "1Gi", "ephemeral-storage": "20Gi"}


#: Fields of an ImageBuild's spec.pod that the chart can give a default to; its resources have settings of their own.
POD_FIELDS: Final = frozenset(
    {
        "affinity",
        "annotations",
        "imagePullSecrets",
        "labels",
        "nodeSelector",
        "priorityClassName",
        "runtimeClassName",
        "tolerations",
    }
)


class SettingsError(ValueError):
    """A variable that is missing or cannot be used; the text begins with its name."""


def _option(default: Any, check: Callable[[Any], str | None] | None = None) -> Any:
    return field(default=default, metadata={"check": check})


def _one_of(*choices: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in choices else f"must be one of {', '.join(choices)}, not {value!r}"


def _at_least(low: float) -> Callable[[Any], str | None]:
    return lambda value: None if value >= low else f"must be at least {low:g}, not {value!r}"


def _cidrs(value: tuple[str, ...]) -> str | None:
    for cidr in value:
        try:
            ipaddress.ip_network(cidr)
        except ValueError as e:
            return f"not a CIDR block: {e}"
    return None


def _pod_fields(value: Mapping[str, Any]) -> str | None:
    unknown = sorted(value.keys() - POD_FIELDS)
    return f"unknown field {unknown[0]!r}; known are {', '.join(sorted(POD_FIELDS))}" if unknown else None


def _urls(value: Mapping[str, str]) -> str | None:
    bad = [url for url in value.values() if not url.startswith(("http://", "https://"))]
    return f"{bad[0]!r} must begin with http:// or https://" if bad else None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; the defaults are those of the chart. Times are seconds, sizes bytes."""

    namespace: str  # where the operator runs; in a pod it is known without the variable
    service_account: str = OPERATOR  # for the commands that the status shows
    pod_name: str = ""  # of this very pod: who holds the Lease; empty outside a cluster
    listen: str = "0.0.0.0:8080"
    log_format: str = _option("json", _one_of("json", "plain"))
    log_level: str = _option("INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    cluster_domain: str = "cluster.local"
    workers: int = _option(8, _at_least(1))  # reconciles at once, per kind: they mostly wait for the API server
    resync_seconds: float = _option(600.0, _at_least(1))  # how often every kind is listed anew
    stuck_seconds: float = _option(300.0, _at_least(1))  # a reconcile that takes longer makes /healthz fail

    # Registries
    registry_image: str = "docker.io/library/registry:3"
    registry_pull_secrets: tuple[str, ...] = ()  # in the Registry's namespace
    registry_recheck_seconds: float = _option(60.0, _at_least(1))  # drift, credentials and probe of a Ready Registry
    node_proxy: bool = True  # whether the chart runs node proxies at all
    node_proxy_namespace: str = "strata-node-proxy"
    node_proxy_config_map: str = "strata-node-proxy"
    node_cidrs: tuple[str, ...] = _option((), _cidrs)  # addresses from which kubelets' node proxies reach registries

    # Builds
    builder_image: str = "strata-builder:dev"
    builder_image_pull_policy: str = _option("IfNotPresent", _one_of("Always", "IfNotPresent", "Never"))
    max_builds: int = _option(0, _at_least(0))  # pods at once in the cluster; 0 = no limit
    max_builds_per_namespace: int = _option(0, _at_least(0))  # of one namespace that has no annotation; 0 = no limit
    paused: str = ""  # true, or why: no build is started; those that run end
    image_volumes: str = _option("Auto", _one_of("Auto", "Always", "Never"))  # how the builder gets into InPlace pods
    context_limit_bytes: int = _option(2 * 1024**3, _at_least(1))
    mirrors: Mapping[str, str] = field(default_factory=dict, metadata={"check": _urls})  # upstream host=endpoint URL
    insecure_registries: tuple[str, ...] = ()
    platform: str = "linux/amd64"  # of the nodes that build
    build_requests: Mapping[str, str] = field(
        default_factory=lambda: dict(_BUILD_REQUESTS)
    )  # of the building container
    build_limits: Mapping[str, str] = field(default_factory=lambda: dict(_BUILD_LIMITS))
    helper_requests: Mapping[str, str] = field(default_factory=lambda: dict(_HELPER_REQUESTS))  # of fetch and of push
    helper_limits: Mapping[str, str] = field(default_factory=lambda: dict(_HELPER_LIMITS))
    build_pod: Mapping[str, Any] = field(default_factory=dict, metadata={"check": _pod_fields})  # defaults of spec.pod
    scratch_limit: str = "20Gi"  # of each disk-backed emptyDir of a builder pod
    job_ttl_seconds: int = _option(3600, _at_least(0))  # how long an ended Job and its logs stay
    ca_bundle_file: str = ""  # PEM, trusted by builders and by polls beside the system's
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    polls_at_once: int = _option(16, _at_least(1))  # git servers asked at once
    polls_per_host: int = _option(4, _at_least(1))
    poll_allowed_cidrs: tuple[str, ...] = _option((), _cidrs)  # private addresses that polls may ask all the same

    # Webhooks and notifications
    webhook_listen: str = ""  # where deliveries of forges and registries are taken (host:port); empty: nowhere
    webhook_trusted_proxies: tuple[str, ...] = _option((), _cidrs)  # whose X-Forwarded-For says who delivers
    registry_notifications: bool = False  # whether managed Registries tell of what is pushed to them
    notification_source: str = ""  # comes before the source of CloudEvents, to tell clusters apart
    notification_sinks: tuple[Any, ...] = _option((), sinks.problem)  # JSON list, see notifications/sinks.py


def load(environ: Mapping[str, str], *, own_namespace: Path = _OWN_NAMESPACE) -> Settings:
    """The settings in `environ`. Raises SettingsError naming the variable."""
    if not environ.get(PREFIX + "NAMESPACE") and own_namespace.is_file():
        environ = {**environ, PREFIX + "NAMESPACE": own_namespace.read_text("ascii").strip()}
    hints = typing.get_type_hints(Settings)
    found = {f.name: _value(f, hints[f.name], environ) for f in dataclasses.fields(Settings) if _is_set(f, environ)}
    return Settings(**found)


def _is_set(option: dataclasses.Field[Any], environ: Mapping[str, str]) -> bool:
    name = PREFIX + option.name.upper()
    if environ.get(name, "") != "":
        return True
    if option.default is dataclasses.MISSING and option.default_factory is dataclasses.MISSING:
        raise SettingsError(f"{name} is not set; it has no default")
    return False


def _value(option: dataclasses.Field[Any], kind: Any, environ: Mapping[str, str]) -> Any:
    name = PREFIX + option.name.upper()
    try:
        value = _parse(kind, environ[name].strip())
    except ValueError as e:
        raise SettingsError(f"{name}={environ[name]!r}: {e}") from e
    check = option.metadata.get("check")
    if check and (problem := check(value)):
        raise SettingsError(f"{name}: {problem}")
    return value


def _parse(kind: Any, text: str) -> Any:
    if kind in (str, int, float):
        return kind(text)
    if kind is bool:
        return _switch(text)
    if typing.get_args(kind)[0] is Any:
        return _documents(text)
    if typing.get_args(kind)[-1] is Any:
        return _document(text)
    items = [item.strip() for item in text.split(",") if item.strip()]
    if typing.get_origin(kind) is tuple:
        return tuple(items)
    pairs = [item.partition("=") for item in items]
    if bad := [key for key, equals, value in pairs if not (key and equals and value)]:
        raise ValueError(f"expected key=value, got {bad[0]!r}")
    return MappingProxyType({key: value for key, _, value in pairs})


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _document(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return MappingProxyType(value)


def _documents(text: str) -> tuple[Mapping[str, Any], ...]:
    value = json.loads(text)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("must be a JSON list of objects")
    return tuple(value)
