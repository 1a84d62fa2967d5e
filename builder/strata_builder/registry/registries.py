"""All registries of one process: made when first named, each with the settings of its host, sharing counters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Self

from strata_builder.frozen import field, frozen
from strata_builder.registry import addresses, connect, mirrors, proxies, retry
from strata_builder.registry.client import Registry
from strata_builder.registry.config import DockerConfig
from strata_builder.registry.counters import Counters, Totals


@frozen
class Settings:
    """What holds for all hosts, and which hosts (host[:port]) are `insecure`: served by plain HTTP; with
    `loopback_insecure` those of this machine are, too, as docker has it."""

    credentials: DockerConfig = field(default_factory=DockerConfig)
    ca: bytes | None = None
    insecure: Collection[str] = ()
    loopback_insecure: bool = False
    mirrors: mirrors.Mirrors = field(default_factory=mirrors.Mirrors)
    connect_filter: connect.ConnectFilter | None = None
    proxies: proxies.Proxies = field(default_factory=proxies.Proxies)
    timeouts: connect.Timeouts = field(default_factory=connect.Timeouts)
    policy: retry.Policy = field(default_factory=retry.Policy)


class Registries:
    """Safe to share between threads. Close it, or use it in a `with`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._counters = Counters()
        self._lock = threading.Lock()
        self._made: dict[tuple[str, bool], Registry] = {}

    def get(self, host: str) -> Registry:
        """The registry that references of `host` name, itself and not a mirror."""
        return self._get(host, self._is_insecure(host))

    def sources(self, host: str, repository: str) -> tuple[tuple[Registry, str], ...]:
        """Where to ask for `repository` of `host`, in order: (registry, name of the repository there). The upstream
        comes last."""
        found = [
            (
                self._get(endpoint.host, endpoint.insecure or self._is_insecure(endpoint.host)),
                endpoint.repository(repository),
            )
            for endpoint in self.settings.mirrors.of(host)
        ]
        return (*found, (self.get(host), repository))

    @property
    def totals(self) -> Totals:
        """Of all registries together."""
        return self._counters.totals

    def close(self) -> None:
        with self._lock:
            made = list(self._made.values())
            self._made.clear()
        for registry in made:
            registry.close()

    def _is_insecure(self, host: str) -> bool:
        return host in self.settings.insecure or (self.settings.loopback_insecure and addresses.is_loopback(host))

    def _get(self, host: str, insecure: bool) -> Registry:
        with self._lock:
            if (host, insecure) not in self._made:
                self._made[host, insecure] = self._make(host, insecure)
            return self._made[host, insecure]

    def _make(self, host: str, insecure: bool) -> Registry:
        s = self.settings
        return Registry(
            host,
            credentials=s.credentials,
            ca=s.ca,
            insecure=insecure,
            connect_filter=s.connect_filter,
            proxies=s.proxies,
            timeouts=s.timeouts,
            policy=s.policy,
            counters=self._counters,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: For callers that make registries otherwise (tests, the operator).
Factory = Callable[[str], Registry]
