"""Which addresses are those of the operators beside this one: what they pass on they have counted for who delivers.

Anybody can say of a delivery that it was passed on; nobody else has the address of such a pod.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from strata_operator import kube, names

log = logging.getLogger(__name__)

_KNOWN_SECONDS: Final = 5.0
_OPERATORS: Final = f"{names.LABEL_PART_OF}=strata,{names.LABEL_COMPONENT}={names.COMPONENT_OPERATOR}"


class Replicas:
    """`namespace` is that of the operators."""

    def __init__(self, client: kube.Kube, namespace: str) -> None:
        self._kube = client
        self._namespace = namespace
        self._known: tuple[float, asyncio.Task[frozenset[str]]] | None = None

    async def have(self, address: str) -> bool:
        """Whether `address` is that of an operator's pod; asked for once in some seconds, however many deliver."""
        now = asyncio.get_running_loop().time()
        if self._known is None or now - self._known[0] > _KNOWN_SECONDS:
            self._known = now, asyncio.create_task(self._ask())
        return address in await asyncio.shield(self._known[1])

    async def _ask(self) -> frozenset[str]:
        try:
            pages = self._kube.pages(names.PODS, namespace=self._namespace, selector=_OPERATORS)
            pods = [pod async for page, _ in pages for pod in page]
        except kube.KubeError as e:
            log.warning("the other operators are not known, what they pass on counts as theirs: %s", e)
            return frozenset()
        found = [(pod.get("status") or {}).get("podIPs") or () for pod in pods]
        return frozenset(str(each.get("ip")) for addresses in found for each in addresses)
