"""Which ImageBuilds write to which repository of which Registry, without a look at each of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from strata_operator import cache, kube, names

#: The repository of (namespace, name, spec.output.repository) by a Registry's template, empty if it may have none.
Resolve = Callable[[str, str, str], str]


def registry_of(body: kube.Object) -> names.Key:
    """The Registry that an ImageBuild names."""
    wanted = ((body.get("spec") or {}).get("output") or {}).get("registry") or {}
    return names.Key(wanted.get("namespace") or body["metadata"]["namespace"], wanted.get("name", ""))


@dataclass
class _Repositories:
    """Those of one Registry, as its template of then has them."""

    template: str
    resolve: Resolve
    keys: dict[str, set[names.Key]] = field(default_factory=dict)

    def add(self, key: names.Key, wanted: str) -> None:
        self.keys.setdefault(self.resolve(*key, wanted), set()).add(key)

    def discard(self, key: names.Key, wanted: str) -> None:
        self.keys.get(self.resolve(*key, wanted), set()).discard(key)


class Destinations(cache.Index):
    """An index of ImageBuilds. What a Registry's template makes of them is found out when it is first asked for."""

    def __init__(self) -> None:
        super().__init__(_destination)
        self._wanted: dict[names.Key, dict[names.Key, str]] = {}  # Registry -> ImageBuild -> spec.output.repository
        self._known: dict[names.Key, _Repositories] = {}

    def add(self, key: names.Key, value: Hashable) -> None:
        registry, wanted = _parts(value)
        self._wanted.setdefault(registry, {})[key] = wanted
        if known := self._known.get(registry):
            known.add(key, wanted)

    def discard(self, key: names.Key, value: Hashable) -> None:
        registry, wanted = _parts(value)
        of = self._wanted.get(registry, {})
        of.pop(key, None)
        if known := self._known.get(registry):
            known.discard(key, wanted)
        if not of:
            self._wanted.pop(registry, None)
            self._known.pop(registry, None)

    def of_registry(self, registry: names.Key) -> list[names.Key]:
        """The ImageBuilds that name it, sorted."""
        return sorted(self._wanted.get(registry, ()))

    def writers(self, registry: names.Key, repository: str, template: str, resolve: Resolve) -> list[names.Key]:
        """The ImageBuilds that write to a repository, sorted; `resolve` is by `template`."""
        known = self._known.get(registry)
        if known is None or known.template != template:
            known = self._known[registry] = _Repositories(template, resolve)
            for key, wanted in self._wanted.get(registry, {}).items():
                known.add(key, wanted)
        return sorted(known.keys.get(repository, ())) if repository else []


def _destination(body: kube.Object) -> tuple[tuple[names.Key, str]]:
    wanted = ((body.get("spec") or {}).get("output") or {}).get("repository", "")
    return ((registry_of(body), wanted),)


def _parts(value: Hashable) -> tuple[names.Key, str]:
    assert isinstance(value, tuple)
    return value[0], value[1]
