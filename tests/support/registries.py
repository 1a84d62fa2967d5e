"""Bodies of Registry resources for tests."""

from __future__ import annotations

from typing import Any


def managed(name: str = "main", namespace: str = "team", **managed_spec: Any) -> dict[str, Any]:
    """A managed Registry; keyword arguments go into spec.managed, `access` and `mirrors` into spec."""
    rest: dict[str, Any] = {key: managed_spec.pop(key) for key in ("access", "mirrors") if key in managed_spec}
    spec: dict[str, Any] = {"managed": {"storage": {"volume": {"size": "1Gi"}}, **managed_spec}, **rest}
    return _body(name, namespace, spec)


def external(
    name: str = "main", namespace: str = "team", *, access: Any = None, **external_spec: Any
) -> dict[str, Any]:
    """An external Registry; keyword arguments go into spec.external."""
    spec: dict[str, Any] = {"external": {"host": "registry.example.com", **external_spec}}
    if access:
        spec["access"] = access
    return _body(name, namespace, spec)


def _body(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "strata.build/v1alpha1",
        "kind": "Registry",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    }
