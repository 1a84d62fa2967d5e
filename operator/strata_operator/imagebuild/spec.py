"""The typed view of an ImageBuild's spec. Pure.

The API server has checked the schema; what is checked here is what it cannot: that sizes in bytes fit, that paths stay
inside the context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import errors
from strata_operator import kube
from strata_operator.imagebuild import trimming
from strata_operator.imagebuild.triggers import schedule

#: What a ConfigMap can hold, with room for its keys and the request beside it.
INLINE_BYTES: Final = 1_000_000
#: Seconds between two looks into the ConfigMaps that a build is made of: watching all of a cluster's would cost more.
_CONFIG_MAPS: Final = 60.0
#: Seconds between two looks at a source of whose pushes a webhook tells: a hint that was lost only delays.
_UNTOLD: Final = 6 * 3600.0
_DURATION: Final = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_QUANTITY: Final = re.compile(r"([0-9]+)(Ki|Mi|Gi|Ti|k|M|G|T)?")
_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{letter}i": 1024**power for power, letter in enumerate("KMGT", start=1)
}


@dataclass(frozen=True, slots=True)
class Git:
    url: str
    revision: str = ""
    path: str = ""
    secret: str = ""
    submodules: bool = True


@dataclass(frozen=True, slots=True)
class Archive:
    url: str
    sha256: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Arg:
    """`value`, or the key of a ConfigMap that holds it."""

    name: str
    value: str | None = None
    config_map: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class BuildSecret:
    id: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Spec:
    """Defaults filled in; times in seconds, sizes in bytes. `inline` and `dockerfile_inline` are SHA-256 digests."""

    registry: str
    registry_namespace: str
    git: Git | None = None
    archive: Archive | None = None
    config_map: str = ""
    inline: tuple[tuple[str, str], ...] = ()  # (path, sha256 of the content), by path
    dockerfile_path: str = ""
    dockerfile_inline: str = ""
    target: str = ""
    args: tuple[Arg, ...] = ()
    secrets: tuple[BuildSecret, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    pull_secrets: tuple[str, ...] = ()
    source_date_epoch: int | None = None
    repository: str = ""
    tags: tuple[str, ...] = ("latest",)
    compression: str = "Gzip"
    cache_mode: str = "Registry"
    cache_max_age: int = 1_209_600
    cache_max_size: int = 10 * 1024**3
    isolation: str = "Auto"
    network: str = "Cluster"
    poll_interval: float | None = None
    base_interval: float | None = None
    webhook: str = ""  # name of the Secret by which deliveries are checked
    schedule: schedule.Schedule | None = None
    timeout: int = 3600
    retries: int = 3
    suspend: bool = False
    priority: int = 0
    concurrency: str = "Supersede"
    keep_succeeded: int = 5
    keep_failed: int = 5
    keep_logs: bool = True
    pod: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config_maps(self) -> tuple[str, ...]:
        """Names of the ConfigMaps whose content goes into the image."""
        named = {arg.config_map for arg in self.args if arg.config_map} | ({self.config_map} - {""})
        return tuple(sorted(named))

    @property
    def look_interval(self) -> float | None:
        """Seconds until it is looked at again; None: when it or its Registry changes, or a poll has found something."""
        return _CONFIG_MAPS if self.config_maps else None

    @property
    def secret_keys(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Secrets of the user that the pod mounts, each with the keys that it must have."""
        keys: dict[str, set[str]] = {}
        for secret in self.secrets:
            keys.setdefault(secret.name, set()).add(secret.key)
        for name in self.pull_secrets:
            keys.setdefault(name, set()).add(".dockerconfigjson")
        source = self.git.secret if self.git else self.archive.secret if self.archive else ""
        if source:
            keys.setdefault(source, set())
        return tuple((name, tuple(sorted(wanted))) for name, wanted in sorted(keys.items()))


def parse(body: kube.Object) -> Spec:
    """The spec of a trimmed or whole object. Raises errors.InvalidSpec naming the field."""
    _check_size(body)
    spec = trimming.trim(body).get("spec") or {}
    source, output = spec.get("source") or {}, spec.get("output") or {}
    registry = output.get("registry") or {}
    if not registry.get("name"):
        raise errors.InvalidSpec("spec.output.registry.name is missing", hint="name a Registry of this namespace")
    dockerfile, kept, stored = spec.get("dockerfile") or {}, spec.get("history") or {}, spec.get("cache") or {}
    git = _git(source.get("git"))
    return Spec(
        registry=registry["name"],
        registry_namespace=registry.get("namespace") or body["metadata"]["namespace"],
        git=git,
        archive=_archive(source.get("archive")),
        config_map=(source.get("configMap") or {}).get("name", ""),
        inline=_inline(source.get("inline") or {}),
        dockerfile_path=_inner("spec.dockerfile.path", dockerfile.get("path", "")),
        dockerfile_inline=dockerfile.get("inline", ""),
        target=spec.get("target", ""),
        args=tuple(_arg(arg) for arg in spec.get("args") or ()),
        secrets=tuple(_secret(secret) for secret in spec.get("secrets") or ()),
        labels=tuple(sorted((spec.get("labels") or {}).items())),
        pull_secrets=tuple(secret["name"] for secret in spec.get("pullSecrets") or ()),
        source_date_epoch=spec.get("sourceDateEpoch"),
        repository=output.get("repository", ""),
        tags=tuple(output.get("tags", ("latest",))),
        compression=output.get("compression", "Gzip"),
        cache_mode=stored.get("mode", "Registry"),
        cache_max_age=duration("spec.cache.maxAge", stored.get("maxAge", "336h")),
        cache_max_size=quantity("spec.cache.maxSize", stored.get("maxSize", "10Gi")),
        isolation=spec.get("isolation", "Auto"),
        network=spec.get("network", "Cluster"),
        poll_interval=_poll_interval(spec, "git") or (_UNTOLD if _webhook(spec) else None),
        base_interval=_poll_interval(spec, "baseImages"),
        webhook=_webhook(spec),
        schedule=schedule.parse(spec),
        timeout=duration("spec.timeout", spec.get("timeout", "1h")),
        retries=spec.get("retries", 3),
        suspend=bool(spec.get("suspend")),
        priority=spec.get("priority", 0),
        concurrency=spec.get("concurrency", "Supersede"),
        keep_succeeded=kept.get("succeeded", 5),
        keep_failed=kept.get("failed", 5),
        keep_logs=kept.get("logs", "Registry") != "None",
        pod=spec.get("pod") or {},
    )


def duration(path: str, text: str) -> int:
    """Seconds of `1h30m`. Raises errors.InvalidSpec naming `path`."""
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise errors.InvalidSpec(f"{path}: {text!r} is not a duration", hint="write it as 90s, 15m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def quantity(path: str, value: str | int) -> int:
    """Bytes of `10Gi`. Raises errors.InvalidSpec naming `path`."""
    found = _QUANTITY.fullmatch(str(value))
    if not found:
        raise errors.InvalidSpec(f"{path}: {value!r} is not a size", hint="write it as 500Mi or 10Gi")
    return int(found[1]) * _UNITS[found[2] or ""]


def canonical(value: Any) -> str:
    """JSON in which equal values are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _poll_interval(spec: Mapping[str, Any], trigger: str) -> float | None:
    found = (spec.get("triggers") or {}).get(trigger)
    return duration(f"spec.triggers.{trigger}.pollInterval", found["pollInterval"]) if found else None


def _webhook(spec: Mapping[str, Any]) -> str:
    found = (spec.get("triggers") or {}).get("webhook") or {}
    return str((found.get("secretRef") or {}).get("name", ""))


def _git(source: Mapping[str, Any] | None) -> Git | None:
    if not source:
        return None
    path = _inner("spec.source.git.path", source.get("path", ""))
    secret = (source.get("secretRef") or {}).get("name", "")
    return Git(source["url"], source.get("revision", ""), path, secret, source.get("submodules", True))


def _archive(source: Mapping[str, Any] | None) -> Archive | None:
    if not source:
        return None
    return Archive(source["url"], source.get("sha256", ""), (source.get("secretRef") or {}).get("name", ""))


def _arg(arg: Mapping[str, Any]) -> Arg:
    reference = (arg.get("valueFrom") or {}).get("configMapKeyRef") or {}
    return Arg(arg["name"], arg.get("value"), reference.get("name", ""), reference.get("key", ""))


def _secret(secret: Mapping[str, Any]) -> BuildSecret:
    return BuildSecret(secret["id"], secret["secretRef"]["name"], secret["secretRef"]["key"])


def _inline(files: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((_inner("spec.source.inline", path), digest) for path, digest in files.items()))


def _inner(field_path: str, path: str) -> str:
    """`path` if it stays inside the context."""
    parts = path.split("/")
    if path and (path.startswith("/") or ".." in parts or "" in parts[:-1] or "\0" in path):
        raise errors.InvalidSpec(
            f"{field_path}: {path[:100]!r} is not a path inside the context",
            hint="no leading slash, no '..', no empty part",
        )
    return path


def _check_size(body: kube.Object) -> None:
    """Whether the inline contents fit into a ConfigMap; a trimmed body was checked when it was whole."""
    spec = body.get("spec") or {}
    files = (spec.get("source") or {}).get("inline") or {}
    size = sum(len(path.encode()) + len(content.encode()) for path, content in files.items())
    size += len(((spec.get("dockerfile") or {}).get("inline") or "").encode())
    if size > INLINE_BYTES:
        raise errors.InvalidSpec(
            f"spec.source.inline and spec.dockerfile.inline hold {size} bytes; {INLINE_BYTES} are the most",
            hint="put the larger files into git, an archive or a ConfigMap",
        )
