"""Writes that the API server refuses for a while, by its own admission policies.

What cannot be written is what a process leaves that is killed just before it writes: so a test can have that moment
last as long as it needs.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping

from support import e2e

_KIND = "admissionregistration.k8s.io/v1"
_PROBE = "gate-probe"


@contextlib.contextmanager
def refused(home: e2e.Namespace, writes: Mapping[str, str]) -> Iterator[None]:
    """What is refused in `home` meanwhile: resource (`jobs`, `imagebuilds/status`) -> condition in CEL.

    A condition sees `object`, for a deletion `oldObject`, and `request`.
    """
    name = f"gate-{uuid.uuid4().hex[:8]}"
    home.apply(_policy(name, writes), _binding(name, home.name))
    try:
        home.until("the admission policy", lambda: _refuses(home))
        yield
    finally:
        home("delete", f"validatingadmissionpolicybinding/{name}", f"validatingadmissionpolicy/{name}")
        home.until("the end of the admission policy", lambda: not _refuses(home))


def _refuses(home: e2e.Namespace) -> bool:
    """A policy counts some moments after it was written."""
    return home.ask("create", "--dry-run=server", "-f", "-", body=e2e.config_map(_PROBE, {})).code != 0


def _policy(name: str, writes: Mapping[str, str]) -> e2e.Body:
    conditions = {"configmaps": f"object.metadata.name == '{_PROBE}'"} | dict(writes)
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [_rule(resource) for resource in conditions]},
        "validations": [
            {"expression": f"!({_asked(resource)} && ({condition}))", "message": "held back by a test"}
            for resource, condition in conditions.items()
        ],
    }
    return {"apiVersion": _KIND, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}


def _binding(name: str, namespace: str) -> e2e.Body:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    return {"apiVersion": _KIND, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": spec}


def _rule(resource: str) -> e2e.Body:
    group = {"jobs": "batch", "configmaps": "", "pods": ""}.get(resource, e2e.GROUP)
    operations = ["CREATE", "UPDATE", "DELETE"] if resource == "jobs" else ["CREATE", "UPDATE"]
    return {"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource]}


def _asked(resource: str) -> str:
    return f"request.resource.resource == '{resource.partition('/')[0]}'"
