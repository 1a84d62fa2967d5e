"""The table of the node proxies: a ConfigMap in their namespace, port -> registry."""

from __future__ import annotations

import logging
from typing import Any, Final

from strata_operator import controller, kube, names
from strata_operator.registry import access, decide, objects, spec, view

log = logging.getLogger(__name__)

KIND: Final = "registry-proxy"
ALL: Final = names.Key("", "all")
TABLE: Final = "registries.json"
_RETRY_SECONDS: Final = 60.0


class Proxies:
    """Keeps the table; there is one for all Registries."""

    def __init__(self, frame: controller.Frame) -> None:
        self._frame = frame

    async def reconcile(self, _key: names.Key) -> float | None:
        """Write the table, and have the kubelets bring it to the proxies at once; where there are none, remove it."""
        options = self._frame.settings
        if not options.node_proxy:
            await self._remove()
            return None
        table = objects.proxy_table(self._served(), options.cluster_domain)
        body = {
            "metadata": {
                "name": options.node_proxy_config_map,
                "namespace": options.node_proxy_namespace,
                "labels": names.common_labels(names.COMPONENT_NODE_PROXY),
            },
            "data": {TABLE: table},
        }
        try:
            await self._frame.kube.apply(names.CONFIGMAPS, body)
            await self._touch(names.short_hash(table, length=16))
        except (kube.NotFound, kube.Forbidden) as e:
            log.warning("nodes cannot pull from managed Registries, their proxies' table is not written: %s", e)
            return _RETRY_SECONDS
        return options.resync_seconds

    def _served(self) -> list[tuple[spec.Registry, str]]:
        bodies = list(self._frame.cache[names.REGISTRIES].all())
        registries = [spec.parse(body) for body in bodies]
        views = [view.view(body) for body in bodies]
        return [
            (seen.registry, seen.ca_bundle)
            for seen in views
            if seen.ca_bundle and seen.registry.managed and decide.port_holder(seen.registry, registries) is None
        ]

    async def _remove(self) -> None:
        """A table from when there were proxies: nobody reads it any more."""
        place = self._frame.settings.node_proxy_namespace, self._frame.settings.node_proxy_config_map
        found = await self._frame.kube.get(names.CONFIGMAPS, *place)
        if found is not None and access.is_ours(found):
            await self._frame.kube.delete(names.CONFIGMAPS, *place, uid=found["metadata"]["uid"])

    async def _touch(self, table_hash: str) -> None:
        """A changed annotation makes a kubelet look at its pod and its volumes now, not within the next minute."""
        selector = f"{names.LABEL_COMPONENT}={names.COMPONENT_NODE_PROXY},{names.LABEL_PART_OF}=strata"
        namespace = self._frame.settings.node_proxy_namespace
        patch = {"metadata": {"annotations": {names.ANNOTATION_CONFIG_HASH: table_hash}}}
        async for page, _ in self._frame.kube.pages(names.PODS, namespace=namespace, selector=selector):
            for pod in page:
                if _annotation(pod) != table_hash:
                    await self._frame.kube.patch(names.PODS, namespace, pod["metadata"]["name"], patch)


def _annotation(body: dict[str, Any]) -> str:
    return str((body["metadata"].get("annotations") or {}).get(names.ANNOTATION_CONFIG_HASH, ""))
