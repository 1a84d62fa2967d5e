"""The registries that may hold a log, one after another, until one answers: each with a login and authorities.

A managed Registry is named as the pods of its cluster reach it. From elsewhere it is reached by its external name, or
through the cluster, by kubectl; never by the name that nodes use (localhost), for here that is another machine's port,
and a password would go to whatever listens there.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from strata_builder.cli.logs import kubectl
from strata_builder.frozen import frozen
from strata_builder.oci.reference import Reference
from strata_builder.registry import config, connect, proxies, retry
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.client import Registry

T = TypeVar("T")
_PULL_SECRET: Final = "strata-pull"  # noqa: S105  a Secret's name
_SERVICE: Final = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.[a-z0-9.-]+)?(:(?P<port>\d+))?")
_TIMEOUTS: Final = connect.Timeouts(connect=4.0, read=30.0)
_FEW: Final = retry.Policy(attempts=2, base=0.2)


@frozen
class Known:
    """What the cluster tells of a registry, as far as this person may read it: its `external` name, PEM of its
    authorities, whether it serves plain HTTP, and logins."""

    external: str = ""
    ca: str = ""
    insecure: bool = False
    logins: bytes = b""


def known(cluster: kubectl.Kubectl, body: Mapping[str, Any]) -> Known:
    """Of the Registry of an ImageBuild. What may not be read is left out: docker's own login may do."""
    namespace = body["metadata"]["namespace"]
    named = ((body.get("spec") or {}).get("output") or {}).get("registry") or {}
    status: Mapping[str, Any] = {}
    logins = b""
    with contextlib.suppress(kubectl.Forbidden, kubectl.NotFound):
        found = cluster.get(kubectl.REGISTRIES, named.get("name", ""), named.get("namespace") or namespace)
        status = found.get("status") or {}
    with contextlib.suppress(kubectl.Forbidden, kubectl.NotFound):
        secret = cluster.get("secrets", _PULL_SECRET, namespace)
        logins = base64.b64decode((secret.get("data") or {}).get(".dockerconfigjson", ""))
    endpoints = status.get("endpoints") or {}
    return Known(endpoints.get("external", ""), status.get("caBundle", ""), bool(status.get("insecure")), logins)


class Places:
    """Tries each way to the registry that a reference names. `insecure` are hosts of plain HTTP."""

    def __init__(
        self, *, insecure: frozenset[str] = frozenset(), cluster: kubectl.Kubectl | None = None, via: str = ""
    ) -> None:
        self._insecure, self._cluster, self._via = insecure, cluster, via

    def ask(self, reference: Reference, facts: Known, question: Callable[[Registry, str], T]) -> T:
        """The answer of the first registry that can be reached. Raises RegistryError, or Unavailable that tells all ways."""
        failures: list[str] = []
        for host, way in self._ways(reference.host, facts):
            try:
                with way as (at, login_of):
                    return self._asked(at, login_of, reference.repository, facts, question)
            except (registry_errors.Unavailable, kubectl.KubeError) as e:
                failures.append(f"{host}: {e.message}")
        raise registry_errors.Unavailable(
            f"no registry that may have the log of {reference.familiar} can be reached from here\n  "
            + "\n  ".join(failures),
            hint=self._hint(reference.host),
        )

    def _asked(
        self, at: str, login_of: str, repository: str, facts: Known, question: Callable[[Registry, str], T]
    ) -> T:
        logins = config.DockerConfig.load(
            [*([facts.logins] if facts.logins else []), *config.default_paths(os.environ)], run_helper=config.run_helper
        )
        insecure = facts.insecure or {at, login_of} & self._insecure or (not facts.ca and _is_loopback(at))
        registry = Registry(
            at,
            credentials=logins.lookup(login_of, repository),
            ca=facts.ca.encode() or None,
            insecure=bool(insecure),
            proxies=proxies.Proxies.from_env(os.environ),
            timeouts=_TIMEOUTS,
            policy=_FEW,
        )
        with contextlib.closing(registry):
            return question(registry, repository)

    def _ways(
        self, host: str, facts: Known
    ) -> Iterator[tuple[str, contextlib.AbstractContextManager[tuple[str, str]]]]:
        """(how it is called, what leads there: host to dial, host that the login is of)."""
        if self._via:
            yield self._via, contextlib.nullcontext((self._via, host))
            return
        if facts.external and facts.external != host:
            yield facts.external, contextlib.nullcontext((facts.external, facts.external))
        inside = _SERVICE.fullmatch(host)
        if inside is None or self._cluster is None:
            yield host, contextlib.nullcontext((host, host))
        if inside and self._cluster:
            service = f"service {inside['namespace']}/{inside['name']}, by kubectl port-forward"
            yield service, self._forwarded(inside["name"], inside["namespace"], int(inside["port"] or 443), host)

    @contextlib.contextmanager
    def _forwarded(self, name: str, namespace: str, port: int, host: str) -> Iterator[tuple[str, str]]:
        """Certificates of managed registries are good for localhost, too."""
        assert self._cluster is not None
        with self._cluster.forwarded(name, port, namespace) as here:
            yield f"localhost:{here}", host

    def _hint(self, host: str) -> str:
        inside = _SERVICE.fullmatch(host)
        if inside is None:
            return "check the name, and docker login; --via HOST:PORT reaches it by another address"
        port = inside["port"] or "443"
        return (
            f"let a port of this machine lead to it: kubectl -n {inside['namespace']} port-forward service/{inside['name']}"
            f" 5001:{port}\nand ask again with --via localhost:5001"
        )


def _is_loopback(host: str) -> bool:
    return host.partition(":")[0] in ("localhost", "127.0.0.1")
