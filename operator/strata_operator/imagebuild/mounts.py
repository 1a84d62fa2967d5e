"""What the containers of a builder pod mount, as dicts: files of the operator's, Secrets, and what they share. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract
from strata_operator import names, settings
from strata_operator.imagebuild import beginning, request, spec

Body = dict[str, Any]
_SMALL: Final = "64Mi"
COPY: Final[Mapping[str, Any]] = {"emptyDir": {"sizeLimit": "1Gi"}}


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of what the pod mounts. `registry_login` tells whether the Registry has credentials at all."""

    request: str  # ConfigMap with request.json, hosts, resolv.conf and, with `ca`, ca.crt
    contents: str = ""  # ConfigMap with the inline files and the inline Dockerfile
    ca: bool = False
    registry_login: bool = True
    copied: bool = False  # whether the builder gets into an InPlace pod as a copy


@dataclass
class Volumes:
    """The pod's volumes, each added when a container first mounts it."""

    found: dict[str, Body] = field(default_factory=dict)

    def mount(
        self, name: str, source: Mapping[str, Any], path: str, *, read_only: bool = True, sub_path: str = ""
    ) -> Body:
        self.found.setdefault(name, {"name": name, **source})
        mount = {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})
        return mount | ({"subPath": sub_path} if sub_path else {})

    def all(self) -> list[Body]:
        return list(self.found.values())


def in_place(parts: Parts, options: settings.Settings, volumes: Volumes) -> list[Body]:
    """The builder, read-only and apart from the root that steps own, and two files that they cannot change."""
    image = {"image": {"reference": options.builder_image, "pullPolicy": options.builder_image_pull_policy}}
    builder = (
        volumes.mount(beginning.BUILDER, COPY, contract.HOME)
        if parts.copied
        else volumes.mount(beginning.BUILDER, image, contract.HOME, sub_path=contract.HOME.lstrip("/"))
    )
    config = {"configMap": {"name": parts.request, "defaultMode": 0o444}}
    return [
        builder,
        volumes.mount("network", config, "/etc/hosts", sub_path="hosts"),
        volumes.mount("network", config, "/etc/resolv.conf", sub_path="resolv.conf"),
    ]


def own(role: str, parts: Parts, options: settings.Settings, volumes: Volumes, *, ca: bool = True) -> list[Body]:
    """What every container has: the request, its own scratch, and the authorities to trust."""
    mounts = [
        volumes.mount("request", _items(parts.request, {"request.json": "request.json"}), _folder(contract.REQUEST)),
        scratch(options, volumes, f"scratch-{role}", contract.SCRATCH),
    ]
    if ca and parts.ca:
        mounts.append(volumes.mount("ca", _items(parts.request, {"ca.crt": "ca.crt"}), _folder(contract.CA_BUNDLE)))
    return mounts


def source(wanted: spec.Spec, parts: Parts, volumes: Volumes) -> list[Body]:
    mounts: list[Body] = []
    source: Body
    if wanted.inline:
        keys = {key: key for _, key in request.file_keys(wanted)}
        mounts.append(volumes.mount("files", _items(parts.contents, keys), contract.CONTEXT_FILES))
    if wanted.config_map:
        source = {"configMap": {"name": wanted.config_map}}
        mounts.append(volumes.mount("files", source, contract.CONTEXT_FILES))
    if wanted.dockerfile_inline:
        source = _items(parts.contents, {"Dockerfile": "Dockerfile"})
        mounts.append(volumes.mount("dockerfile", source, _folder(contract.DOCKERFILE)))
    if secret := (wanted.git.secret if wanted.git else wanted.archive.secret if wanted.archive else ""):
        source = {"secret": {"secretName": secret, "defaultMode": 0o400}}
        mounts.append(volumes.mount("source-credentials", source, contract.SOURCE_CREDENTIALS))
    return mounts


def pull(wanted: spec.Spec, parts: Parts, volumes: Volumes) -> list[Body]:
    """One folder a Secret. Our own, which has a name of its own there, is missing where no Registry has credentials."""
    needed = parts.registry_login or names.SECRET_PULL in wanted.pull_secrets
    sources: list[Body] = [
        *({"secret": _login(name, name)} for name in wanted.pull_secrets if name != names.SECRET_PULL),
        {"secret": _login(names.SECRET_PULL, contract.OWN_LOGIN) | ({} if needed else {"optional": True})},
    ]
    projected = {"projected": {"defaultMode": 0o400, "sources": sources}}
    return [volumes.mount("pull-credentials", projected, contract.PULL_CREDENTIALS)]


def _login(secret: str, folder: str) -> Body:
    key = ".dockerconfigjson"
    return {"name": secret, "items": [{"key": key, "path": f"{folder}/{key}"}]}


def push(parts: Parts, volumes: Volumes) -> list[Body]:
    source: Body = {"secretName": names.SECRET_PUSH, "defaultMode": 0o400}
    source |= {} if parts.registry_login else {"optional": True}
    return [volumes.mount("push-credentials", {"secret": source}, contract.PUSH_CREDENTIALS)]


def secrets(wanted: spec.Spec, volumes: Volumes) -> list[Body]:
    if not wanted.secrets:
        return []
    sources = [{"secret": {"name": s.name, "items": [{"key": s.key, "path": s.id}]}} for s in wanted.secrets]
    projected = {"projected": {"defaultMode": 0o400, "sources": sources}}
    return [volumes.mount("secret-sources", projected, contract.SECRET_SOURCES)]


def alive(role: str, volumes: Volumes) -> list[Body]:
    """All signs of life to read; one's own to write."""
    source = {"emptyDir": {"sizeLimit": _SMALL}}
    return [
        volumes.mount("alive", source, contract.ALIVE),
        volumes.mount("alive", source, f"{contract.ALIVE}/{role}", read_only=False, sub_path=role),
    ]


def memory(volumes: Volumes, *, read_only: bool) -> Body:
    source = {"emptyDir": {"medium": "Memory", "sizeLimit": _SMALL}}
    return volumes.mount("secrets", source, contract.SECRETS, read_only=read_only)


def scratch(options: settings.Settings, volumes: Volumes, name: str, path: str, *, read_only: bool = False) -> Body:
    source: Body = {"emptyDir": {"sizeLimit": options.scratch_limit} if options.scratch_limit else {}}
    return volumes.mount(name, source, path, read_only=read_only)


def shared() -> tuple[tuple[str, str], ...]:
    return (("inputs", contract.INPUTS), ("outputs", contract.OUTPUTS), ("wanted", contract.WANTED))


def _items(config_map: str, keys: Mapping[str, str]) -> Body:
    items = [{"key": key, "path": path} for key, path in keys.items()]
    return {"configMap": {"name": config_map, "items": items}}


def _folder(path: str) -> str:
    return posixpath.dirname(path)
