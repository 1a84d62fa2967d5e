"""One look at a Registry: observe, decide, apply, and write the status once."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_builder.registry import config
from strata_operator import addresses, cache, certificates, conditions, controller, kube, names
from strata_operator.registry import access, decide, external, material, objects, probe, spec, vault

log = logging.getLogger(__name__)

KIND: Final = "registry"
_WAITING_SECONDS: Final = 5.0
_STALLED_SECONDS: Final = 30.0


class Reconciler:
    """Reconciles Registries of both sorts."""

    def __init__(self, frame: controller.Frame, logins: vault.Vault) -> None:
        self._frame = frame
        self._logins = logins
        self._misses: dict[str, int] = {}  # failed probes in a row, by the Registry's uid

    async def reconcile(self, key: names.Key) -> float | None:
        """Bring one Registry nearer to its spec; returns seconds until the next look."""
        body = self._frame.cache[names.REGISTRIES].get(*key)
        self._count()
        if body is None:
            self._misses.clear()
            if not self._ends(key.namespace):
                await self._forget(key)
            return None
        namespace = self._frame.cache[names.NAMESPACES].get("", key.namespace)
        if namespace is None:
            return cache.UNSEEN_SECONDS
        if any(one["metadata"].get("deletionTimestamp") for one in (body, namespace)):
            return None
        wanted = spec.parse(body)
        registry = wanted if self._frame.settings.node_proxy else wanted.without_nodes()
        found, facts = await (self._managed(registry) if registry.managed else self._external(registry))
        found += decide.node_access(wanted, proxied=self._frame.settings.node_proxy)
        await self._report(body, registry, found, facts)
        return self._next_look(found)

    async def _managed(self, registry: spec.Registry) -> tuple[list[conditions.Condition], dict[str, Any]]:
        domain = self._frame.settings.cluster_domain
        private = await self._frame.kube.get(names.SECRETS, registry.namespace, names.SECRET_REGISTRY)
        served = await self._frame.kube.get(names.SECRETS, registry.namespace, names.SECRET_SERVING)
        if problem := _foreign(private, served):
            return decide.managed(decide.Observed(registry, problem)), {}
        hosts = objects.serving_hosts(registry, domain)
        stored = {
            names.SECRET_REGISTRY: material.decode(private),
            names.SECRET_SERVING: material.decode(served),
        }
        notifies = self._frame.settings.registry_notifications
        secrets = material.ensure(registry.name, *stored.values(), hosts=hosts, now=time.time(), notifies=notifies)
        problem = await self._apply_all(registry, secrets, stored)
        holder = decide.port_holder(registry, self._others(registry))
        if holder and problem is None:
            problem = decide.port_conflict(registry, holder)
        reached = registry.without_nodes() if holder else registry  # the holder's is the login for the port, too
        self._share(registry, _managed_logins(reached, secrets, domain))
        seen = await self._observe(registry, problem, secrets)
        facts = {
            "endpoints": _endpoints(registry.push_host(domain), reached.node_host),
            "caBundle": secrets.bundle,
            "credentials": {"users": list(material.USERS), "secrets": [names.SECRET_PULL, names.SECRET_PUSH]},
        }
        return decide.managed(seen), facts

    async def _apply_all(
        self, registry: spec.Registry, secrets: material.Material, stored: Mapping[str, Mapping[str, str]]
    ) -> decide.Problem | None:
        """Apply every child; the first that is refused ends it. `stored` is the data of the two Secrets as read."""
        parts = {
            names.SECRET_REGISTRY: secrets.private(registry.name),
            names.SECRET_SERVING: secrets.served(registry.name),
        }
        for name, data in parts.items():
            if data.items() <= stored[name].items():
                continue
            body, manager = objects.secret(registry, name, data), material.manager(registry.name)
            if problem := await self._apply(names.SECRETS, body, ours=True, manager=manager):
                return problem
        claim = self._frame.cache[names.VOLUME_CLAIMS].get(registry.namespace, registry.child)
        for resource, body in objects.children(registry, secrets, self._frame.settings, claim):
            known = self._frame.cache[resource].get(*kube.place(body))
            ours = known is not None and known["metadata"]["labels"].get(names.LABEL_REGISTRY) == registry.name
            if not ours and not _may_have(registry, await self._frame.kube.get(resource, *kube.place(body))):
                return _not_ours(registry, resource, body)
            if problem := await self._apply(resource, body, ours=ours):
                return problem
        return None

    async def _apply(
        self, resource: names.Resource, body: kube.Object, *, ours: bool, manager: str = names.OPERATOR
    ) -> decide.Problem | None:
        """Force only what is known to be this Registry's: an object of somebody else's is never taken over."""
        what = f"{resource.kind} {body['metadata']['name']}"
        try:
            await self._frame.kube.apply(resource, body, force=ours, manager=manager)
        except kube.Conflict as e:
            if ours:
                raise
            return decide.Problem("NameTaken", f"{what} is there already and not this Registry's: {e.message}")
        except (kube.Invalid, kube.Forbidden) as e:
            return decide.Problem("ApplyRejected", f"{what} is refused: {e.message}")
        return None

    async def _observe(
        self, registry: spec.Registry, problem: decide.Problem | None, secrets: material.Material
    ) -> decide.Observed:
        cache = self._frame.cache
        pods = [
            pod
            for pod in cache[names.PODS].in_namespace(registry.namespace)
            if (pod["metadata"].get("labels") or {}).get(names.LABEL_REGISTRY) == registry.name
        ]
        body = cache[names.REGISTRIES].get(*registry.key) or {}
        seen = decide.Observed(
            registry,
            problem,
            cache[names.DEPLOYMENTS].get(registry.namespace, registry.child),
            pods,
            cache[names.VOLUME_CLAIMS].get(registry.namespace, registry.child),
            was_ready=conditions.is_true((body.get("status") or {}).get("conditions"), conditions.READY),
        )
        if problem or decide.rollout(seen):
            return seen
        login = config.Credential(material.USER_OPERATOR, secrets.passwords[material.USER_OPERATOR])
        host = registry.push_host(self._frame.settings.cluster_domain)
        outcome = await probe.probe(probe.Target(host, ca_bundle=secrets.bundle, credential=login))
        misses = self._misses[registry.uid] = self._misses.get(registry.uid, 0) + 1 if outcome.reason else 0
        return dataclasses.replace(seen, probed=outcome, misses=misses)

    async def _external(self, registry: spec.Registry) -> tuple[list[conditions.Condition], dict[str, Any]]:
        there = registry.external
        if there is None:
            raise ValueError(f"Registry {registry.key} is neither managed nor external")
        found = await external.read(self._frame.kube, registry, self._frame.settings)
        facts: dict[str, Any] = {"endpoints": _endpoints(there.host, there.host, there.host)}
        if found.ca_bundle:
            facts["caBundle"] = found.ca_bundle
        if there.insecure:
            facts["insecure"] = True
        if found.problem:
            return decide.external(there, found.problem, None), facts
        logins = {there.host: found.credential} if found.credential else {}
        self._share(registry, vault.Logins(pull=logins, push=logins))
        if found.credential:
            secrets = [names.SECRET_PULL, names.SECRET_PUSH]
            facts["credentials"] = {"users": [found.credential.username], "secrets": secrets}
        admits = addresses.of_users(self._frame.settings.poll_allowed_cidrs, os.environ)
        trusted = certificates.joined(found.ca_bundle, self._frame.authorities)
        target = probe.Target(there.host, there.insecure, trusted, found.credential, admits.hook)
        return decide.external(there, None, await probe.probe(target)), facts

    def _ends(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, and all in it."""
        body = self._frame.cache[names.NAMESPACES].get("", namespace)
        return body is None or bool(body["metadata"].get("deletionTimestamp"))

    def _share(self, registry: spec.Registry, logins: vault.Logins) -> None:
        """Have the namespaces' Secrets written, if the logins are news."""
        body = self._frame.cache[names.REGISTRIES].get(*registry.key)
        if self._logins.put(registry.uid, logins) and body is not None:
            for kind, key in access.admitted(self._frame)(body):
                self._frame.enqueue(kind, key)

    async def _forget(self, key: names.Key) -> None:
        """Take the keys of a Registry that is gone out of the Secrets that it shared; the last one's Secrets go."""
        for name in (names.SECRET_REGISTRY, names.SECRET_SERVING):
            found = await self._frame.kube.get(names.SECRETS, key.namespace, name)
            if found is None or not access.is_ours(found):
                continue
            left = [k for k in found.get("data") or {} if not k.startswith(f"{key.name}.")]
            if not left:
                await self._frame.kube.delete(names.SECRETS, key.namespace, name, uid=found["metadata"]["uid"])
            elif len(left) < len(found["data"]):
                bare = {"metadata": {"name": name, "namespace": key.namespace}, "type": "Opaque"}
                await self._frame.kube.apply(names.SECRETS, bare, manager=material.manager(key.name))

    async def _report(
        self,
        body: kube.Object,
        registry: spec.Registry,
        found: Sequence[conditions.Condition],
        facts: dict[str, Any],
    ) -> None:
        before = body.get("status") or {}
        merged = conditions.merge(
            before.get("conditions") or (), found, generation=registry.generation, now=time.time()
        )
        status = {"observedGeneration": registry.generation, "conditions": merged, **facts}
        await self._frame.kube.patch_status(names.REGISTRIES, body, status)
        old = conditions.find(before.get("conditions"), conditions.READY) or {}
        new = merged[0]
        if (old.get("status"), old.get("reason")) != (new["status"], new["reason"]):
            log.info("%s: %s", new["reason"], new["message"])
            warning = conditions.is_true(merged, conditions.STALLED)
            await self._frame.kube.event(body, reason=new["reason"], note=new["message"], warning=warning)

    def _next_look(self, found: Sequence[conditions.Condition]) -> float:
        kinds = {condition.type for condition in found}
        recheck = self._frame.settings.registry_recheck_seconds
        if conditions.STALLED in kinds:
            recheck = min(recheck, _STALLED_SECONDS)
        elif conditions.RECONCILING in kinds:
            recheck = min(recheck, _WAITING_SECONDS)
        return recheck * random.uniform(0.9, 1.1)  # noqa: S311  jitter

    def _others(self, registry: spec.Registry) -> list[spec.Registry]:
        found = [spec.parse(body) for body in self._frame.cache[names.REGISTRIES].all()]
        return [other for other in found if other.uid != registry.uid]

    def _count(self) -> None:
        states = [
            conditions.is_true((body.get("status") or {}).get("conditions"), conditions.READY)
            for body in self._frame.cache[names.REGISTRIES].all()
        ]
        self._frame.metrics.registries.labels("true").set(states.count(True))
        self._frame.metrics.registries.labels("false").set(states.count(False))


def _may_have(registry: spec.Registry, found: kube.Object | None) -> bool:
    """Whether an object of the name that this Registry needs is its own, or is not there. An apply without force would
    not tell: it joins in wherever nobody has said otherwise."""
    meta = found["metadata"] if found else {}
    labelled = (meta.get("labels") or {}).get(names.LABEL_REGISTRY) == registry.name
    owned = any(owner["uid"] == registry.uid for owner in meta.get("ownerReferences") or ())
    return found is None or labelled or owned


def _not_ours(registry: spec.Registry, resource: names.Resource, body: kube.Object) -> decide.Problem:
    place = f"{body['metadata']['name']} --namespace {registry.namespace}"
    return decide.Problem(
        "NameTaken",
        f"{resource.kind} {body['metadata']['name']} is there already and was not made by Strata; rename or delete it, or "
        f"hand it over: kubectl label {resource.plural} {place} {names.LABEL_REGISTRY}={registry.name}",
    )


def _foreign(*found: kube.Object | None) -> decide.Problem | None:
    for body in found:
        if body is not None and not access.is_ours(body):
            name = body["metadata"]["name"]
            return decide.Problem("NameTaken", f"Secret {name} is there already and was not made by Strata")
    return None


def _managed_logins(registry: spec.Registry, secrets: material.Material, domain: str) -> vault.Logins:
    pull = config.Credential(material.USER_PULL, secrets.passwords[material.USER_PULL])
    push = config.Credential(material.USER_PUSH, secrets.passwords[material.USER_PUSH])
    host = registry.push_host(domain)
    nodes = {registry.node_host: pull} if registry.node_host else {}
    return vault.Logins(pull={host: pull, **nodes}, push={host: push})


def _endpoints(push: str, node: str, outside: str = "") -> dict[str, str]:
    return {key: value for key, value in (("push", push), ("node", node), ("external", outside)) if value}
