"""The API server's and the kubelet's own words for why a pod cannot be, as failures with a next step. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from strata_builder import contract
from strata_operator import kube, names

_POD_SECURITY: Final = re.compile(r'violates PodSecurity "([a-z]+):([^"]*)": (.*)', re.DOTALL)
_QUOTA: Final = re.compile(r"(?:(?:exceeded|failed) quota: |insufficient quota to ).*", re.DOTALL)
_POLICY: Final = re.compile(r"""(admission webhook "[^"]+"|ValidatingAdmissionPolicy '[^']+').* denied .*""", re.DOTALL)
_LIMIT_RANGE: Final = re.compile(
    r"(?:maximum|minimum) \S+ usage per (?:Container|Pod)\b.*|\S+ max limit to request ratio per .*", re.DOTALL
)
_BEYOND: Final = re.compile(r"requests: Invalid value: \S+: must be less than or equal to \S+ limit of .*", re.DOTALL)
_MISSING: Final = re.compile(r'(secret|configmap) "([^"]+)" not found', re.IGNORECASE)
_MISSING_KEY: Final = re.compile(r"(?:references non-existent|non-existent) (secret|config) key: (\S+)", re.IGNORECASE)
_ACCOUNT: Final = re.compile(r'serviceaccount "([^"]+)" not found')
_CLASS: Final = re.compile(
    r'no (PriorityClass) with name (\S+) was found|pod rejected: (RuntimeClass) "([^"]+)" not found'
)
#: What a node needs to have user namespaces.
USER_NAMESPACES: Final = "containerd 2, runc 1.2 and Linux 6.3, or newer"
#: What of the spec, or of the operator's own, a volume of the builder pod stands for.
_USERS: Final = {
    "secret-sources": "spec.secrets",
    "source-credentials": "spec.source",
    "pull-credentials": "spec.pullSecrets",
    "files": "spec.source.configMap",
    "push-credentials": "pushing to the Registry",
}
_VOLUME: Final = re.compile(r'volume "([^"]+)"')


def creation(message: str) -> contract.Failure:
    """Why no pod was made: from an event FailedCreate of the Job, or from a dry run."""
    if found := _POD_SECURITY.search(message):
        return pod_security(found[1], found[3])
    if found := _QUOTA.search(message):
        return contract.Failure(
            "QuotaExceeded",
            f"the namespace's quota refuses what the build needs: {found[0]}",
            hint="free some of the quota, raise it, or lower spec.pod.resources",
        )
    if found := _LIMIT_RANGE.search(message):
        return contract.Failure(
            "PodRejected",
            f"a LimitRange of the namespace refuses the builder pod: {found[0].rstrip(']')}",
            hint="set spec.pod.resources within it (kubectl describe limitrange), or have it changed",
        )
    if found := _ACCOUNT.search(message):
        return missing("ServiceAccount", found[1], "spec.pod.serviceAccountName")
    if found := _CLASS.search(message):
        return _missing_class(*filter(None, found.groups()))
    return (
        policy(message)
        or default_limit(message)
        or contract.Failure("InfrastructureFailed", f"the builder pod cannot be made: {message}", retryable=True)
    )


def refused_by(message: str) -> str:
    """The webhook or the policy, with its name, that an answer of the API server is from; empty if it is from none."""
    return found[1] if (found := _POLICY.search(message)) else ""


def policy(message: str) -> contract.Failure | None:
    """A rule of the cluster's administrators refuses the pod or its Job, whatever code it answers with."""
    if not (found := _POLICY.search(message)):
        return None
    return contract.Failure(
        "PodRejected",
        f"the cluster refuses what the build needs: {found[0]}",
        hint="ask who runs the cluster for an exception, or meet the rule by spec.pod; it is looked at again by itself",
    )


def default_limit(message: str) -> contract.Failure | None:
    """The namespace gives a container that has no limit of its own one below what it requests."""
    if not (found := _BEYOND.search(message)):
        return None
    return contract.Failure(
        "PodRejected",
        f"a LimitRange of the namespace gives the builder pod a limit below what it requests: {found[0].rstrip(']')}",
        hint="set spec.pod.resources.limits, or lower its requests (kubectl describe limitrange), or have it changed",
    )


def pod_security(level: str, violations: str) -> contract.Failure:
    """A namespace that enforces `level` refuses the pod."""
    return contract.Failure(
        "PodRejected",
        f"the namespace's label {names.LABEL_POD_SECURITY}={level} refuses the builder pod: {violations}",
        hint="build in a namespace with a wider level (baseline for InPlace, privileged for UserNS),"
        " or a Dockerfile without RUN with isolation Layers",
    )


def mount(message: str) -> contract.Failure:
    """Why a volume cannot be mounted, from an event FailedMount of the pod."""
    if found := _MISSING.search(message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[found[1].lower()]
        return missing(kind, found[2], _USERS.get(_volume(message), "the builder pod"))
    if found := _MISSING_KEY.search(message):
        kind = "Secret" if found[1].lower() == "secret" else "ConfigMap"
        return contract.Failure(
            "ReferenceNotFound",
            f"a {kind} has no key {found[2]} ({message})",
            hint=f"add the key to the {kind}, or name another one; it is looked at again by itself",
        )
    return contract.Failure("InfrastructureFailed", f"a volume cannot be mounted: {message}", retryable=True)


def sandbox(message: str) -> contract.Failure | None:
    """Whether a pod's sandbox will never be made, from an event FailedCreatePodSandBox of the pod."""
    if "does not support user namespaces" not in message:
        return None
    return contract.Failure(
        "PodRejected",
        f"the node refuses the builder pod: {message}",
        hint=f"the node needs {USER_NAMESPACES}; or set spec.isolation to InPlace",
    )


def container(name: str, reason: str, message: str) -> contract.Failure:
    """Why a container cannot be started, from its waiting state."""
    if found := _MISSING.search(message):
        return missing({"secret": "Secret", "configmap": "ConfigMap"}[found[1].lower()], found[2], f"container {name}")
    return contract.Failure(
        "InfrastructureFailed", f"container {name} cannot be started: {reason}: {message}", retryable=True
    )


def secret(name: str, keys: Iterable[str], body: kube.Object | None) -> contract.Failure | None:
    """Whether a Secret that the pod would mount is missing, or one of its keys."""
    if body is None:
        return missing("Secret", name, "the builder pod")
    absent = sorted(set(keys) - set(body.get("data") or {}))
    return mount(f'references non-existent secret key: {absent[0]} in secret "{name}"') if absent else None


def _missing_class(kind: str, name: str) -> contract.Failure:
    field = f"{kind[0].lower()}{kind[1:]}Name"
    return missing(kind, name, f"spec.pod.{field} or the chart's builds.{field}", where="cluster")


def missing(kind: str, name: str, user: str, *, where: str = "namespace") -> contract.Failure:
    return contract.Failure(
        "ReferenceNotFound",
        f"{kind} {name} does not exist in this {where} ({user} needs it)",
        hint=f"create it, or name another one: kubectl get {kind.lower()} {name}; it is looked at again by itself",
    )


def is_about_volume(name: str, message: str) -> bool:
    """Whether an event FailedMount is about the volume `name`, alone or among others."""
    listed = re.search(r"unmounted volumes=\[([^\]]*)\]", message)
    return _volume(message) == name or (listed is not None and name in re.split(r"[,\s]+", listed[1]))


def lacks_image_volumes(message: str) -> bool:
    """Whether the API server refuses a pod for an image as its volume: an older one drops what it does not know, and
    misses the volume's type, or knows no part of an image."""
    return "must specify a volume type" in message or ("subPath" in message and "image volume" in message)


def _volume(message: str) -> str:
    found = _VOLUME.search(message)
    return found[1] if found else ""
