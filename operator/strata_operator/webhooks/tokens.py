"""The tokens by which deliveries are checked, from Secrets that the operator may read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from strata_operator import kube, names
from strata_operator.registry import material

log = logging.getLogger(__name__)

KEY: Final = "token"
_FRESH: Final = 2.0  # seconds for which a Secret is not read again
_MOST: Final = 1000


class Tokens:
    """Keeps what it has read for a moment, so that a burst of deliveries is one request to the API server: also where there
    was nothing to read, for anybody can deliver."""

    def __init__(self, client: kube.Kube, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = client
        self._clock = clock
        self._read: dict[tuple[str, str], tuple[float, asyncio.Task[dict[str, str]]]] = {}

    async def get(self, namespace: str, secret: str, key: str = KEY) -> str:
        """The token without white space around it, empty if it cannot be read. Never raises."""
        data = await self._data(namespace, secret)
        return data.get(key, "").strip()

    async def _data(self, namespace: str, secret: str) -> dict[str, str]:
        found = self._read.get((namespace, secret))
        if found is None or self._clock() - found[0] > _FRESH:
            if len(self._read) >= _MOST:
                self._read.clear()
            found = self._clock(), asyncio.create_task(self._ask(namespace, secret))
            self._read[namespace, secret] = found
        return await asyncio.shield(found[1])  # others may wait for it, too

    async def _ask(self, namespace: str, secret: str) -> dict[str, str]:
        try:
            return material.decode(await self._kube.get(names.SECRETS, namespace, secret))
        except kube.KubeError as e:  # the condition Webhook of the object says what to do
            log.warning("Secret %s/%s cannot be read, deliveries are refused: %s", namespace, secret, e)
            return {}
