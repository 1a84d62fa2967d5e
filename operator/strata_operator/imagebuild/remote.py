"""The operator's own hand in a registry: is a manifest there, what did a lost pod leave, and the writing of tags.

Each method blocks and is called in a thread.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract, errors
from strata_builder.oci import digest as digests
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import manifest, platform
from strata_builder.registry import client, config, connect, patience, retry
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.manifests import ManifestBytes

_TIMEOUTS: Final = connect.Timeouts(connect=5.0, read=20.0)
_LONGEST: Final = 120.0  # seconds of a call: a host that is slow on purpose must not keep the threads that all share
_FEW: Final = retry.Policy(attempts=2)  # the queue tries again
_CACHE_TYPE: Final = "application/vnd.strata.cache.v1+json"
_CACHE_LIMIT: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a registry. `ca` is PEM, trusted beside the system's; `connect_filter` is given for a host that a user
    named, and for wherever that one sends its clients."""

    host: str
    insecure: bool = False
    ca: str = ""
    credential: config.Credential | None = field(default=None, repr=False)
    connect_filter: connect.ConnectFilter | None = None

    def open(self) -> client.Registry:
        return client.Registry(
            self.host,
            credentials=self.credential,
            ca=self.ca.encode() or None,
            insecure=self.insecure,
            connect_filter=self.connect_filter,
            timeouts=_TIMEOUTS,
            policy=_FEW,
        )


def published(access: Access, repository: str, digest: str) -> bool | contract.Failure:
    """Whether the repository holds the manifest."""
    try:
        with contextlib.closing(access.open()) as registry, patience.within(_LONGEST):
            return registry.head_manifest(repository, digest) is not None
    except errors.BuildError as e:
        return _failure(e)


def tag(access: Access, repository: str, digest: str, tags: Sequence[str]) -> contract.Failure | None:
    """Make every tag name the manifest; one that does already is not written again."""
    try:
        with contextlib.closing(access.open()) as registry, patience.within(_LONGEST):
            found = registry.manifest(repository, digest)
            for name in tags:
                present = registry.head_manifest(repository, name)
                if present is None or present.digest != digest:
                    registry.put_manifest(repository, name, found.data, found.media_type)
    except registry_errors.TagImmutable as e:
        return contract.Failure("DestinationConflict", e.message, hint="the registry lets tags be written once only")
    except errors.BuildError as e:
        return _failure(e)
    return None


def left_behind(
    access: Access, repository: str, *, uid: str, number: int, attempt: int, built_for: str
) -> contract.BuildResult | contract.Failure | None:
    """The result of a pod that vanished, from what its push noted in the cache artifact; None if there is none."""
    try:
        with contextlib.closing(access.open()) as registry, patience.within(_LONGEST):
            digest = _noted(registry, repository, f"{uid}/{number}/{attempt}/{built_for}", built_for)
            if not digest:
                return None
            found = registry.manifest(repository, digest)
        size = len(found.data) + _stored(found)
    except (registry_errors.NotFound, oci_errors.ImageInvalid, ValueError):
        return None  # no artifact, or one that is damaged: the build runs again
    except errors.BuildError as e:
        return _failure(e)
    return contract.BuildResult((contract.PlatformResult(built_for, digest, size, found.media_type),))


def _noted(registry: client.Registry, repository: str, key: str, built_for: str) -> str:
    """The digest that the cache artifact names for a build, empty if none."""
    place = platform.Platform.parse(built_for)
    parts = ["cache", place.os, place.architecture, *([place.variant] if place.variant else [])]
    found = registry.manifest(repository, "-".join(parts))
    artifact = manifest.parse_manifest(found.data, found.media_type, name=f"cache of {repository}")
    if artifact.config.media_type != _CACHE_TYPE:
        return ""
    document: Any = json.loads(registry.blob_bytes(repository, artifact.config, limit=_CACHE_LIMIT))
    builds = document.get("builds") if isinstance(document, dict) else None
    digest = builds.get(key) if isinstance(builds, dict) else None
    return digest if isinstance(digest, str) and digests.is_digest(digest) else ""


def _stored(found: ManifestBytes) -> int:
    parsed = manifest.parse_manifest(found.data, found.media_type, name=found.digest)
    return parsed.config.size + sum(layer.size for layer in parsed.layers)


def _failure(error: errors.BuildError) -> contract.Failure:
    """What a registry does is never the fault of the build's spec once the builder has pushed."""
    reason = error.reason if error.reason in contract.HEALS_OUTSIDE | contract.RETRIED else "RegistryUnavailable"
    return contract.Failure(reason, error.message, retryable=True, hint=error.hint)
