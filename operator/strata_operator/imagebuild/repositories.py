"""The answers that an ImageBuild's Registry gives, and the tags that are written to it, with the operator's own login."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from strata_builder import contract
from strata_builder.registry import config, connect
from strata_operator import addresses, certificates, controller, names
from strata_operator.imagebuild import memory, questions, remote
from strata_operator.imagebuild.case import Observed
from strata_operator.registry import external, material, view


class Repositories:
    """Belongs to one operator. What is asked of a registry is asked in threads."""

    def __init__(self, frame: controller.Frame, known: memory.Memory) -> None:
        self._frame = frame
        self._known = known
        self._admits = addresses.of_users(frame.settings.poll_allowed_cidrs, os.environ).hook

    def trusted(self, registry: view.View) -> str:
        """Whom builder pods and the operator itself trust: the Registry's authorities and the chart's."""
        return certificates.joined(registry.ca_bundle, self._frame.authorities)

    async def published(self, seen: Observed, asked: questions.Published) -> bool | contract.Failure:
        """Whether the manifest is there."""
        key = (seen.uid, asked.repository, asked.digest)
        if asked.max_age and self._known.expect(key, True, asked.max_age):
            return True
        access = await self._access(seen)
        if isinstance(access, contract.Failure):
            return access
        there = await asyncio.to_thread(remote.published, access, asked.repository, asked.digest)
        if there is True:
            self._known.learn(key, True)
        return there

    async def tag(self, seen: Observed, asked: questions.Tag) -> contract.Failure | None:
        """Move the tags; what went wrong."""
        access = await self._access(seen)
        if isinstance(access, contract.Failure):
            return access
        return await asyncio.to_thread(remote.tag, access, asked.repository, asked.digest, asked.tags)

    async def lost_result(self, seen: Observed, asked: questions.LostResult) -> Any:
        """What a pod that vanished has left, or why that cannot be told."""
        access = await self._access(seen)
        if isinstance(access, contract.Failure):
            return access
        return await asyncio.to_thread(
            remote.left_behind,
            access,
            asked.repository,
            uid=seen.uid,
            number=asked.number,
            attempt=asked.attempt,
            built_for=self._frame.settings.platform,
        )

    async def _access(self, seen: Observed) -> remote.Access | contract.Failure:
        """The operator's own way into the Registry, with the credentials that it made or was given."""
        if seen.registry is None:
            return contract.Failure("RegistryUnavailable", "the Registry is gone", retryable=True)
        found = view.view(seen.registry)
        admits: connect.ConnectFilter | None = None
        if found.registry.managed:
            login: config.Credential | None = await self._own_login(found)
        else:
            admits = self._admits
            references = await external.read(self._frame.kube, found.registry, self._frame.settings)
            if references.problem:
                return contract.Failure("RegistryUnavailable", references.problem.message, retryable=True)
            login = references.credential
        return remote.Access(found.push, found.insecure, self.trusted(found), login, admits)

    async def _own_login(self, found: view.View) -> config.Credential | None:
        body = await self._frame.kube.get(names.SECRETS, found.registry.namespace, names.SECRET_REGISTRY)
        password = material.decode(body).get(f"{found.registry.name}.{material.USER_OPERATOR}")
        return config.Credential(material.USER_OPERATOR, password) if password else None
