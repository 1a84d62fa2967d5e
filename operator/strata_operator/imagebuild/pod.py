"""The builder pod of each rung, as dicts. Pure.

Layers is one container, `push`, that a `restricted` namespace admits. The others are three containers side by side:
only fetch has source and pull credentials, only push has push credentials, and the one that runs user code has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strata_builder import contract
from strata_operator import settings
from strata_operator.imagebuild import beginning, isolation, mounts, resources, spec

Body = dict[str, Any]
USER: Final = 65532
PROGRAM: Final = f"{contract.HOME}/bin/strata-pod"
HOSTNAME: Final = "buildkitsandbox"
HOSTS: Final = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
GRACE_SECONDS: Final = 15
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


def spec_of(wanted: spec.Spec, rung: str, parts: mounts.Parts, options: settings.Settings) -> Body:
    """The pod's spec on a rung."""
    volumes = mounts.Volumes()
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


def _all_in_one(wanted: spec.Spec, parts: mounts.Parts, options: settings.Settings, volumes: mounts.Volumes) -> Body:
    mounted = [
        *mounts.source(wanted, parts, volumes),
        *mounts.pull(wanted, parts, volumes),
        *mounts.push(parts, volumes),
        *mounts.secrets(wanted, volumes),  # it runs no step: so that a Secret which is missing is missed on every rung
        *mounts.own(contract.PUSH, parts, options, volumes),
        *(mounts.scratch(options, volumes, name, path) for name, path in mounts.shared()),
    ]
    found = resources.merged(
        wanted.pod.get("resources") or {}, requests=options.build_requests, limits=options.build_limits
    )
    return _container(contract.ALL_IN_ONE, "all", mounted, _restricted(), found, options)


def _fetch(wanted: spec.Spec, parts: mounts.Parts, options: settings.Settings, volumes: mounts.Volumes) -> Body:
    mounted = [
        *mounts.source(wanted, parts, volumes),
        *mounts.pull(wanted, parts, volumes),
        *mounts.secrets(wanted, volumes),
        *mounts.own(contract.FETCH, parts, options, volumes),
        *mounts.alive(contract.FETCH, volumes),
        mounts.scratch(options, volumes, "inputs", contract.INPUTS),
        mounts.scratch(options, volumes, "outputs", contract.OUTPUTS, read_only=True),
        mounts.scratch(options, volumes, "wanted", contract.WANTED, read_only=True),
        mounts.memory(volumes, read_only=False),
    ]
    return _container(contract.FETCH, "fetch", mounted, _restricted(), _helper(options), options)


def _build(
    wanted: spec.Spec, rung: str, parts: mounts.Parts, options: settings.Settings, volumes: mounts.Volumes
) -> Body:
    mounted = [
        *mounts.own(contract.BUILD, parts, options, volumes, ca=False),
        *mounts.alive(contract.BUILD, volumes),
        mounts.scratch(options, volumes, "inputs", contract.INPUTS, read_only=True),
        mounts.scratch(options, volumes, "outputs", contract.OUTPUTS),
        mounts.memory(volumes, read_only=True),
    ]
    if rung == isolation.IN_PLACE:
        mounted = [*mounts.in_place(parts, options, volumes), *mounted]
    found = resources.merged(
        wanted.pod.get("resources") or {}, requests=options.build_requests, limits=options.build_limits
    )
    return _container(contract.BUILD, "build", mounted, _root(rung), found, options)


def _push(parts: mounts.Parts, options: settings.Settings, volumes: mounts.Volumes) -> Body:
    mounted = [
        *mounts.push(parts, volumes),
        *mounts.own(contract.PUSH, parts, options, volumes),
        *mounts.alive(contract.PUSH, volumes),
        mounts.scratch(options, volumes, "inputs", contract.INPUTS, read_only=True),
        mounts.scratch(options, volumes, "outputs", contract.OUTPUTS, read_only=True),
        mounts.scratch(options, volumes, "wanted", contract.WANTED),
    ]
    return _container(contract.PUSH, "push", mounted, _restricted(), _helper(options), options)


def _container(
    name: str, role: str, mounted: list[Body], security: Body, found: Body, options: settings.Settings
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
        "volumeMounts": mounted,
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


def _install(options: settings.Settings, volumes: mounts.Volumes) -> Body:
    """Copies the builder to where the container of the steps mounts it read-only; that starts when this has ended."""
    mounted = [
        volumes.mount(beginning.BUILDER, mounts.COPY, contract.INSTALLED, read_only=False),
        mounts.scratch(options, volumes, "scratch-install", contract.SCRATCH),
    ]
    return _container(contract.INSTALL, contract.INSTALL, mounted, _restricted(), _helper(options), options)


def _helper(options: settings.Settings) -> Body:
    return {"requests": dict(options.helper_requests), "limits": dict(options.helper_limits)}


def _proxies(options: settings.Settings) -> dict[str, str]:
    found = {"HTTP_PROXY": options.http_proxy, "HTTPS_PROXY": options.https_proxy, "NO_PROXY": options.no_proxy}
    return {name: value for name, value in found.items() if value}


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
