"""What a build has to know of a Registry: where to push, under what name nodes pull, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strata_operator import conditions
from strata_operator.registry import spec


@dataclass(frozen=True, slots=True)
class View:
    """A Registry as a build sees it.

    `push`, `node`, `external` are host[:port], empty if there is none; `ca_bundle` is PEM, empty = the system's;
    `mirrors` are this Registry's own, to be asked before the chart's. `problem` says why it is not ready, else empty.
    """

    registry: spec.Registry
    ready: bool
    problem: str
    push: str
    node: str
    external: str
    insecure: bool
    ca_bundle: str

    @property
    def mirrors(self) -> tuple[spec.Mirror, ...]:
        return self.registry.mirrors

    def admits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether builds of this namespace may use it (AccessNotGranted if not)."""
        return self.registry.admits(namespace, labels)

    def repository(self, namespace: str, name: str, wanted: str = "") -> str:
        """The repository of an ImageBuild; `wanted` is what its spec asks for. Raises ValueError, worded for people."""
        template = self.registry.access.template
        if not wanted:
            return spec.repository(template, namespace, name)
        if not spec.allows(template, namespace, wanted):
            raise ValueError(
                f"Registry {self.registry.key} lets builds of namespace {namespace} write to "
                f"{spec.repository(template, namespace, '<path>')} only, not to {wanted}"
            )
        return wanted


def view(body: Mapping[str, Any]) -> View:
    """The view of a Registry's body. What is said of an older generation does not count as ready."""
    registry = spec.parse(body)
    status = body.get("status") or {}
    found = conditions.find(status.get("conditions"), conditions.READY) or {}
    current = found.get("observedGeneration") == registry.generation
    ready = current and found.get("status") == conditions.TRUE
    problem = f"{found.get('reason')}: {found.get('message')}" if current and found else "not looked at yet"
    endpoints = status.get("endpoints") or {}
    return View(
        registry=registry,
        ready=ready,
        problem="" if ready else problem,
        push=endpoints.get("push", ""),
        node=endpoints.get("node", ""),
        external=endpoints.get("external", ""),
        insecure=bool(status.get("insecure")),
        ca_bundle=status.get("caBundle", ""),
    )
