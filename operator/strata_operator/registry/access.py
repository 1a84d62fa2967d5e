"""The Secrets `strata-pull` and `strata-push` of each namespace that may use a Registry.

One worker renders a namespace's two Secrets whole, from all Registries that admit it: a dockerconfigjson is one value,
in which several writers could only overwrite each other. Nothing is written over a Secret that is not ours.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from strata_operator import controller, kube, names
from strata_operator.registry import material, spec, vault

log = logging.getLogger(__name__)

KIND: Final = "registry-access"
_TYPE: Final = "kubernetes.io/dockerconfigjson"


class Access:
    """Reconciles namespaces; the key is the namespace's."""

    def __init__(self, frame: controller.Frame, logins: vault.Vault) -> None:
        self._frame = frame
        self._logins = logins
        self.holders: set[str] = set()  # namespaces that have, or may have, Secrets of ours

    async def reconcile(self, key: names.Key) -> float | None:
        """Make the Secrets of the namespace `key.name` what its Registries say."""
        namespace = self._frame.cache[names.NAMESPACES].get("", key.name)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        labels = namespace["metadata"].get("labels") or {}
        bodies = [b for b in self._frame.cache[names.REGISTRIES].all() if spec.parse(b).admits(key.name, labels)]
        if not bodies and key.name not in self.holders:
            return None
        known, pending = self._sorted(key.name, bodies)
        hosts = {host for one in pending for host in self._hosts(one)}
        pull = {host: login for one in known for host, login in one.pull.items()}
        push = {host: login for one in known for host, login in one.push.items()}
        await self._write(key.name, names.SECRET_PULL, pull, hosts, bodies)
        await self._write(key.name, names.SECRET_PUSH, push, hosts, bodies)
        if bodies:
            return self._next_look()
        self.holders.discard(key.name)
        return None

    def _next_look(self) -> float:
        """Secrets are not watched, so each is looked at now and then; more seldom where there are very many."""
        crowd = len(self._frame.cache[names.NAMESPACES]) / 50
        return self._frame.settings.registry_recheck_seconds * max(1.0, crowd)

    def _sorted(self, namespace: str, bodies: Iterable[kube.Object]) -> tuple[list[vault.Logins], list[spec.Registry]]:
        known, pending = [], []
        for registry in sorted(map(spec.parse, bodies), key=functools.partial(_weight, namespace)):
            logins = self._logins.get(registry.uid)
            known.append(logins) if logins else pending.append(registry)
        return known, pending

    def _hosts(self, registry: spec.Registry) -> list[str]:
        return [registry.push_host(self._frame.settings.cluster_domain), registry.node_host]

    async def _write(
        self, namespace: str, name: str, logins: Mapping[str, Any], pending: set[str], bodies: list[kube.Object]
    ) -> None:
        """`pending` hosts are of Registries whose logins are not known yet: their entries stay as they are."""
        found = await self._frame.kube.get(names.SECRETS, namespace, name)
        if found is not None and not is_ours(found):
            if logins:
                await self._say_taken(name, namespace, bodies)
            return
        before = vault.entries(material.decode(found).get(vault.DOCKER_CONFIG_KEY, ""))
        kept = {host: entry for host, entry in before.items() if host in pending}
        if logins or kept:
            text = vault.docker_config(logins, kept)
            self.holders.add(namespace)
            if material.decode(found).get(vault.DOCKER_CONFIG_KEY) == text:
                return
            await self._frame.kube.apply(names.SECRETS, _secret(namespace, name, text))
        elif found is not None:
            await self._frame.kube.delete(names.SECRETS, namespace, name, uid=found["metadata"]["uid"])
            log.info("Secret %s/%s removed: no Registry gives the namespace a login", namespace, name)

    async def _say_taken(self, name: str, namespace: str, bodies: list[kube.Object]) -> None:
        note = (
            f"Secret {namespace}/{name} was not made by Strata and is left as it is: builds and Pods of namespace "
            f"{namespace} cannot log in. Rename or delete it: kubectl delete secret {name} --namespace {namespace}"
        )
        for body in bodies:
            await self._frame.kube.event(body, reason="SecretNameTaken", note=note, action="WriteSecret", warning=True)


def _weight(namespace: str, registry: spec.Registry) -> tuple[bool, bool, names.Key]:
    """Where two Registries claim one host, the later in this order wins: so nobody can put a login of his own in the
    place of that for a managed Registry, or for one of the namespace itself."""
    return registry.managed is not None, registry.namespace == namespace, registry.key


def is_ours(body: Mapping[str, Any]) -> bool:
    """Whether the operator made this object."""
    return (body["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.OPERATOR


def _secret(namespace: str, name: str, text: str) -> kube.Object:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": names.common_labels(names.COMPONENT_REGISTRY)},
        "type": _TYPE,
        "data": material.encode({vault.DOCKER_CONFIG_KEY: text}),
    }


def admitted(frame: controller.Frame) -> controller.Wakes:
    """Wakes every namespace that a Registry admits."""

    def wakes(body: kube.Object) -> Iterable[tuple[str, names.Key]]:
        registry = spec.parse(body)
        for namespace in frame.cache[names.NAMESPACES].all():
            meta = namespace["metadata"]
            if registry.admits(meta["name"], meta.get("labels") or {}):
                yield KIND, names.Key("", meta["name"])

    return wakes
