"""Everything that is told goes through here: to each sink that wants it, never waiting for any of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import urllib.parse
from collections.abc import Iterable
from typing import Final

import aiohttp

import strata_operator
from strata_builder.registry import addresses, proxies
from strata_operator import metrics, names, settings
from strata_operator.notifications import delivery, notices, sinks

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 5.0  # for what still waits when the operator ends
_PORTS: Final = {"http": 80, "https": 443}


class Hub:
    """Belongs to one operator. `authorities` (PEM) are trusted beside the system's."""

    def __init__(self, options: settings.Settings, counters: metrics.Metrics, authorities: str) -> None:
        self._options = options
        self._counters = counters
        self._authorities = authorities
        self.sinks = sinks.parse(options.notification_sinks)
        self._deliveries: list[delivery.Delivery] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._client: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Begin to deliver; without sinks there is nothing to begin."""
        if not self.sinks:
            return
        trust = ssl.create_default_context()
        if self._authorities:
            trust.load_verify_locations(cadata=self._authorities)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit_per_host=4),
            headers={"User-Agent": f"{names.OPERATOR}/{strata_operator.__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._deliveries = [self._delivery(sink, self._client) for sink in self.sinks]
        self._tasks = [asyncio.create_task(one.run()) for one in self._deliveries]

    def tell(self, told: Iterable[notices.Notice]) -> None:
        """Have the sinks told."""
        for notice in told:
            for one in self._deliveries:
                if one.sink.wants(notice.transition, notice.namespace):
                    one.put(notice)

    async def close(self, drain: float = DRAIN_SECONDS) -> None:
        """Give what waits `drain` seconds, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain):
                for one in self._deliveries:
                    await one.drained()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if late := [one.sink.name for one in self._deliveries if not one.idle]:
            log.warning("notifications for %s are left undelivered", ", ".join(late))
        self._deliveries, self._tasks = [], []
        if self._client is not None:
            await self._client.close()

    def _delivery(self, sink: sinks.Sink, client: aiohttp.ClientSession) -> delivery.Delivery:
        source = self._options.notification_source
        return delivery.Delivery(sink, client, self._counters, source=source, proxy=self._proxy(sink.url))

    def _proxy(self, url: str) -> str | None:
        """The chart's proxy, which Services of the cluster are in noProxy of."""
        parts, options = urllib.parse.urlsplit(url), self._options
        proxy = options.https_proxy if parts.scheme == "https" else options.http_proxy
        origin = addresses.Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
        if proxies.Proxies(options.http_proxy, options.https_proxy, options.no_proxy).of(origin) is None:
            return None
        return proxy if "://" in proxy else f"http://{proxy}"
