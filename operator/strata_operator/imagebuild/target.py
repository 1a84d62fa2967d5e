"""Where an image goes: the Registry as this build may use it, or why it may not (yet). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from strata_builder import contract
from strata_operator import kube
from strata_operator.imagebuild import spec, verdicts
from strata_operator.registry import view

_REPOSITORY: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
LONGEST: Final = 255


@dataclass(frozen=True, slots=True)
class Target:
    """A repository of a Registry. `ready` tells whether a build may begin; `problem` why not."""

    view: view.View
    repository: str

    @property
    def ready(self) -> bool:
        return self.view.ready

    @property
    def destination(self) -> str:
        """The Registry and the repository, in one word."""
        return f"{self.view.registry.namespace}/{self.view.registry.name}/{self.repository}"

    def names(self, digest: str) -> dict[str, Any]:
        """`image` and `references` of a status: the first of node, external and push that there is, and all of them."""
        hosts = {"node": self.view.node, "external": self.view.external, "push": self.view.push}
        found = {name: f"{host}/{self.repository}@{digest}" for name, host in hosts.items() if host}
        return {"image": next(iter(found.values())), "references": found} if found else {}


def of(
    registry: kube.Object | None, namespace: kube.Object | None, wanted: spec.Spec, key: tuple[str, str]
) -> Target | contract.Failure | verdicts.Waiting:
    """The target of the ImageBuild `key` (namespace, name); `namespace` is the object of its namespace."""
    called = f"Registry {wanted.registry_namespace}/{wanted.registry}"
    if registry is None:
        return verdicts.Waiting("RegistryNotFound", f"{called} does not exist yet; the build goes on when it appears")
    seen = view.view(registry)
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    if not seen.admits(key[0], labels):
        return contract.Failure(
            "AccessNotGranted",
            f"{called} does not grant builds of namespace {key[0]}",
            hint="its owner can grant them in the Registry's spec.access; or use a Registry of this namespace",
        )
    return _repository(seen, wanted, key)


def not_ready(target: Target) -> verdicts.Waiting:
    return verdicts.Waiting(
        "RegistryNotReady", f"Registry {target.view.registry.key} is not ready: {target.view.problem}"
    )


def _repository(seen: view.View, wanted: spec.Spec, key: tuple[str, str]) -> Target | contract.Failure:
    try:
        repository = seen.repository(key[0], key[1], wanted.repository)
    except ValueError as e:
        return contract.Failure("AccessNotGranted", str(e), hint="change spec.output.repository")
    if len(repository) > LONGEST or not _REPOSITORY.fullmatch(repository):
        why = (
            f"has {len(repository)} characters, {LONGEST} are the most"
            if len(repository) > LONGEST
            else "is no repository"
        )
        return contract.Failure(
            "InvalidSpec",
            f"the Registry's repositoryTemplate gives {repository[:80]!r}, which {why}",
            hint="set spec.output.repository, or give the ImageBuild a shorter name",
        )
    return Target(seen, repository)
