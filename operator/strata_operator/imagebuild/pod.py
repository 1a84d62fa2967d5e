"""The builder pod of each rung, as dicts. Pure.

Layers is one container, `push`, that a `restricted` namespace admits. The others are three containers side by side:
only fetch has source and pull credentials, only push has push credentials, and the one that runs user code has neither.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract
from strata_operator import names, settings
from strata_operator.imagebuild import beginning, isolation, request, resources, spec

Body = dict[str, Any]
USER: Final = 65532
PROGRAM: Final = f"{contract.HOME}/bin/strata-pod"
HOSTNAME: Final = "buildkitsandbox"
HOSTS: Final = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
GRACE_SECONDS: Final = 15
_SMALL: Final = "64Mi"
_COPY: Final[Mapping[str, Any]] = {"emptyDir": {"sizeLimit": "1Gi"}}
#: All that `baseline` allows: what a container of Docker has, less NET_RAW.
_BASELINE: Final = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
#: Fields of spec.pod that are a pod's own.
_PLACEMENT: Final = (
    *("nodeSelector", "tolerations", "affinity", "runtimeClassName", "priorityClassName", "serviceAccountName"),
    "imagePullSecrets",
)
_USER_NS: Final = (*_BASELINE, "NET_ADMIN", "SYS_ADMIN")


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of what the pod mounts. `registry_login` tells whether the Registry has credentials at all."""

    request: str  # ConfigMap with request.json, hosts, resolv.conf and, with `ca`, ca.crt
    contents: str = ""  # ConfigMap with the inline files and the inline Dockerfile
    ca: bool = False
    registry_login: bool = True
    copied: bool = False  # whether the builder gets into an InPlace pod as a copy


@dataclass
class _Volumes:
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


def spec_of(wanted: spec.Spec, rung: str, parts: Parts, options: settings.Settings) -> Body:
    """The pod's spec on a rung."""
    volumes = _Volumes()
    if rung == isolation.LAYERS:
        containers = [_all_in_one(wanted, parts, options, volumes)]
    else:
        containers = [
            _fetch(wanted, parts, options, volumes),
            _build(wanted, rung, parts, options, volumes),
            _push(parts, options, volumes),
        ]
    body: Body = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": HOSTNAME,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "activeDeadlineSeconds": wanted.timeout + 60,
        "securityContext": _pod_security(rung),
        "containers": containers,
    }
    if rung == isolation.IN_PLACE and parts.copied:
        body["initContainers"] = [_install(options, volumes)]
    if rung == isolation.USER_NS:
        body["hostUsers"] = False
    return body | {"volumes": volumes.all()} | _placement(wanted.pod, options.build_pod)


def _placement(wanted: Mapping[str, Any], defaults: Mapping[str, Any]) -> Body:
    """Where the pod runs: a field of spec.pod, also an empty one, comes in the place of the chart's."""
    return {name: value for name in _PLACEMENT if (value := wanted.get(name, defaults.get(name)))}


def _pod_security(rung: str) -> Body:
    found: Body = {
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if rung == isolation.LAYERS:
        found |= {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER}
    return found


def _all_in_one(wanted: spec.Spec, parts: Parts, options: settings.Settings, volumes: _Volumes) -> Body:
    mounts = [
        *_source_mounts(wanted, parts, volumes),
        *_pull_mounts(wanted, parts, volumes),
        *_push_mounts(parts, volumes),
        *_secret_mounts(wanted, volumes),  # it runs no step: so that a Secret which is missing is missed on every rung
        *_own(contract.PUSH, parts, options, volumes),
        *(_scratch(options, volumes, name, path) for name, path in _shared()),
    ]
    found = resources.merged(
        wanted.pod.get("resources") or {}, requests=options.build_requests, limits=options.build_limits
    )
    return _container(contract.ALL_IN_ONE, "all", mounts, _restricted(), found, options)


def _fetch(wanted: spec.Spec, parts: Parts, options: settings.Settings, volumes: _Volumes) -> Body:
    mounts = [
        *_source_mounts(wanted, parts, volumes),
        *_pull_mounts(wanted, parts, volumes),
        *_secret_mounts(wanted, volumes),
        *_own(contract.FETCH, parts, options, volumes),
        *_alive(contract.FETCH, volumes),
        _scratch(options, volumes, "inputs", contract.INPUTS),
        _scratch(options, volumes, "outputs", contract.OUTPUTS, read_only=True),
        _scratch(options, volumes, "wanted", contract.WANTED, read_only=True),
        _memory(volumes, read_only=False),
    ]
    return _container(contract.FETCH, "fetch", mounts, _restricted(), _helper(options), options)


def _build(wanted: spec.Spec, rung: str, parts: Parts, options: settings.Settings, volumes: _Volumes) -> Body:
    mounts = [
        *_own(contract.BUILD, parts, options, volumes, ca=False),
        *_alive(contract.BUILD, volumes),
        _scratch(options, volumes, "inputs", contract.INPUTS, read_only=True),
        _scratch(options, volumes, "outputs", contract.OUTPUTS),
        _memory(volumes, read_only=True),
    ]
    if rung == isolation.IN_PLACE:
        mounts = [*_in_place(parts, options, volumes), *mounts]
    found = resources.merged(
        wanted.pod.get("resources") or {}, requests=options.build_requests, limits=options.build_limits
    )
    return _container(contract.BUILD, "build", mounts, _root(rung), found, options)


def _push(parts: Parts, options: settings.Settings, volumes: _Volumes) -> Body:
    mounts = [
        *_push_mounts(parts, volumes),
        *_own(contract.PUSH, parts, options, volumes),
        *_alive(contract.PUSH, volumes),
        _scratch(options, volumes, "inputs", contract.INPUTS, read_only=True),
        _scratch(options, volumes, "outputs", contract.OUTPUTS, read_only=True),
        _scratch(options, volumes, "wanted", contract.WANTED),
    ]
    return _container(contract.PUSH, "push", mounts, _restricted(), _helper(options), options)


def _container(
    name: str, role: str, mounts: list[Body], security: Body, found: Body, options: settings.Settings
) -> Body:
    env = {"TMPDIR": contract.SCRATCH} | (_proxies(options) if name != contract.BUILD else {})
    return {
        "name": name,
        "image": options.builder_image,
        "imagePullPolicy": options.builder_image_pull_policy,
        "command": [PROGRAM, role],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": found,
        "securityContext": security,
        "volumeMounts": mounts,
    }


def _restricted() -> Body:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _root(rung: str) -> Body:
    """The container that runs user code; sudo and su must work in it."""
    found: Body = {
        "runAsUser": 0,
        "runAsGroup": 0,
        "allowPrivilegeEscalation": True,
        "readOnlyRootFilesystem": rung == isolation.USER_NS,
        "capabilities": {"drop": ["ALL"], "add": list(_USER_NS if rung == isolation.USER_NS else _BASELINE)},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    # Where nodes have AppArmor, the runtime's default profile forbids mounts even inside a user namespace.
    return found | ({"appArmorProfile": {"type": "Unconfined"}} if rung == isolation.USER_NS else {})


def _in_place(parts: Parts, options: settings.Settings, volumes: _Volumes) -> list[Body]:
    """The builder, read-only and apart from the root that steps own, and two files that they cannot change."""
    image = {"image": {"reference": options.builder_image, "pullPolicy": options.builder_image_pull_policy}}
    builder = (
        volumes.mount(beginning.BUILDER, _COPY, contract.HOME)
        if parts.copied
        else volumes.mount(beginning.BUILDER, image, contract.HOME, sub_path=contract.HOME.lstrip("/"))
    )
    config = {"configMap": {"name": parts.request, "defaultMode": 0o444}}
    return [
        builder,
        volumes.mount("network", config, "/etc/hosts", sub_path="hosts"),
        volumes.mount("network", config, "/etc/resolv.conf", sub_path="resolv.conf"),
    ]


def _install(options: settings.Settings, volumes: _Volumes) -> Body:
    """Copies the builder to where the container of the steps mounts it read-only; that starts when this has ended."""
    mounts = [
        volumes.mount(beginning.BUILDER, _COPY, contract.INSTALLED, read_only=False),
        _scratch(options, volumes, "scratch-install", contract.SCRATCH),
    ]
    return _container(contract.INSTALL, contract.INSTALL, mounts, _restricted(), _helper(options), options)


def _own(role: str, parts: Parts, options: settings.Settings, volumes: _Volumes, *, ca: bool = True) -> list[Body]:
    """What every container has: the request, its own scratch, and the authorities to trust."""
    mounts = [
        volumes.mount("request", _items(parts.request, {"request.json": "request.json"}), _folder(contract.REQUEST)),
        _scratch(options, volumes, f"scratch-{role}", contract.SCRATCH),
    ]
    if ca and parts.ca:
        mounts.append(volumes.mount("ca", _items(parts.request, {"ca.crt": "ca.crt"}), _folder(contract.CA_BUNDLE)))
    return mounts


def _source_mounts(wanted: spec.Spec, parts: Parts, volumes: _Volumes) -> list[Body]:
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


def _pull_mounts(wanted: spec.Spec, parts: Parts, volumes: _Volumes) -> list[Body]:
    """One folder a Secret. Our own is missing where no Registry has credentials."""
    key = ".dockerconfigjson"
    sources: list[Body] = [
        {"secret": {"name": name, "items": [{"key": key, "path": f"{name}/{key}"}]}} for name in wanted.pull_secrets
    ]
    own: Body = {"name": names.SECRET_PULL, "items": [{"key": key, "path": f"{names.SECRET_PULL}/{key}"}]}
    if names.SECRET_PULL not in wanted.pull_secrets:
        sources.append({"secret": own | ({} if parts.registry_login else {"optional": True})})
    projected = {"projected": {"defaultMode": 0o400, "sources": sources}}
    return [volumes.mount("pull-credentials", projected, contract.PULL_CREDENTIALS)]


def _push_mounts(parts: Parts, volumes: _Volumes) -> list[Body]:
    source: Body = {"secretName": names.SECRET_PUSH, "defaultMode": 0o400}
    source |= {} if parts.registry_login else {"optional": True}
    return [volumes.mount("push-credentials", {"secret": source}, contract.PUSH_CREDENTIALS)]


def _secret_mounts(wanted: spec.Spec, volumes: _Volumes) -> list[Body]:
    if not wanted.secrets:
        return []
    sources = [{"secret": {"name": s.name, "items": [{"key": s.key, "path": s.id}]}} for s in wanted.secrets]
    projected = {"projected": {"defaultMode": 0o400, "sources": sources}}
    return [volumes.mount("secret-sources", projected, contract.SECRET_SOURCES)]


def _alive(role: str, volumes: _Volumes) -> list[Body]:
    """All signs of life to read; one's own to write."""
    source = {"emptyDir": {"sizeLimit": _SMALL}}
    return [
        volumes.mount("alive", source, contract.ALIVE),
        volumes.mount("alive", source, f"{contract.ALIVE}/{role}", read_only=False, sub_path=role),
    ]


def _memory(volumes: _Volumes, *, read_only: bool) -> Body:
    source = {"emptyDir": {"medium": "Memory", "sizeLimit": _SMALL}}
    return volumes.mount("secrets", source, contract.SECRETS, read_only=read_only)


def _scratch(options: settings.Settings, volumes: _Volumes, name: str, path: str, *, read_only: bool = False) -> Body:
    source: Body = {"emptyDir": {"sizeLimit": options.scratch_limit} if options.scratch_limit else {}}
    return volumes.mount(name, source, path, read_only=read_only)


def _shared() -> tuple[tuple[str, str], ...]:
    return (("inputs", contract.INPUTS), ("outputs", contract.OUTPUTS), ("wanted", contract.WANTED))


def _items(config_map: str, keys: Mapping[str, str]) -> Body:
    items = [{"key": key, "path": path} for key, path in keys.items()]
    return {"configMap": {"name": config_map, "items": items}}


def _helper(options: settings.Settings) -> Body:
    return {"requests": dict(options.helper_requests), "limits": dict(options.helper_limits)}


def _proxies(options: settings.Settings) -> dict[str, str]:
    found = {"HTTP_PROXY": options.http_proxy, "HTTPS_PROXY": options.https_proxy, "NO_PROXY": options.no_proxy}
    return {name: value for name, value in found.items() if value}


def _folder(path: str) -> str:
    return posixpath.dirname(path)


def resolv_conf(own: str, operator_namespace: str, namespace: str) -> str:
    """The operator's /etc/resolv.conf as a pod of `namespace` would have it."""
    lines = []
    for line in own.splitlines():
        if line.split()[:1] == ["search"]:
            domains = [
                f"{namespace}.svc{domain.removeprefix(f'{operator_namespace}.svc')}"
                if domain.startswith(f"{operator_namespace}.svc.")
                else domain
                for domain in line.split()[1:]
            ]
            line = " ".join(["search", *domains])
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)
