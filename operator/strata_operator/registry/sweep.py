"""What nobody tells of: Secrets left over from Registries that vanished while nobody watched. Level-triggered.

Secrets are not watched; the four names are listed by field selector, which a role with resourceNames allows.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

from strata_operator import controller, kube, names
from strata_operator.registry import access, vault

log = logging.getLogger(__name__)

KIND: Final = "registry-sweep"
ALL: Final = names.Key("", "all")


class Sweep:
    """Looks through the cluster's Secrets of ours and has their owners looked at."""

    def __init__(self, frame: controller.Frame, logins: vault.Vault, spaces: access.Access, registries: str) -> None:
        self._frame = frame
        self._logins = logins
        self._access = spaces
        self._registries = registries

    async def reconcile(self, _key: names.Key) -> float | None:
        """Wake every namespace and every Registry that one of our Secrets names."""
        store = self._frame.cache[names.REGISTRIES]
        self._logins.keep({body["metadata"]["uid"] for body in store.all()})
        for name in (names.SECRET_PULL, names.SECRET_PUSH):
            async for body in self._secrets(name):
                self._access.holders.add(body["metadata"]["namespace"])
                self._frame.enqueue(access.KIND, names.Key("", body["metadata"]["namespace"]))
        for name in (names.SECRET_REGISTRY, names.SECRET_SERVING):
            async for body in self._secrets(name):
                namespace = body["metadata"]["namespace"]
                for registry in {key.partition(".")[0] for key in body.get("data") or {}}:
                    if store.get(namespace, registry) is None:
                        self._frame.enqueue(self._registries, names.Key(namespace, registry))
        return self._frame.settings.resync_seconds

    async def _secrets(self, name: str) -> AsyncIterator[kube.Object]:
        fields = f"metadata.name={name}"
        async for page, _ in self._frame.kube.pages(names.SECRETS, selector=names.OWNED, fields=fields):
            for body in page:
                yield body
