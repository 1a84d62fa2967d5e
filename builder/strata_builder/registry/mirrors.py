"""Mirrors: other places where an upstream registry's images may be had, asked in order before the upstream itself.
Pure."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.frozen import frozen
from strata_builder.oci import reference as references
from strata_builder.registry import addresses


@frozen
class Endpoint:
    """Where to ask: host[:port], whether by plain HTTP, and a path put before each repository's name ("" or
    "proxy/hub")."""

    host: str
    insecure: bool = False
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """`http://10.0.0.1:5000`, `https://harbor.example/hub-proxy`. Raises InvalidSpec."""
        try:
            parts = urlsplit(url if "://" in url else f"https://{url}")
            bad = (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.username
                or parts.query
                or parts.fragment
            )
            netloc = addresses.Origin.of(parts.geturl()).netloc if not bad else ""
        except (ValueError, errors.BuildError):
            bad, netloc = True, ""
        if bad:
            raise errors.InvalidSpec(
                f"mirror endpoint {addresses.redact(url)!r} is not a URL of the form http[s]://host[:port][/prefix]"
            )
        prefix = parts.path.strip("/").removeprefix("v2").strip("/")
        if prefix:
            references.check_repository(prefix)
        return cls(netloc, parts.scheme == "http", prefix)

    def repository(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


@frozen
class Mirrors:
    entries: tuple[tuple[str, Endpoint], ...] = ()

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Mirrors:
        """From (upstream host, endpoint URL) pairs; several of one upstream are asked in order."""
        return cls(tuple((_upstream(host), Endpoint.parse(url)) for host, url in pairs))

    def of(self, host: str) -> tuple[Endpoint, ...]:
        return tuple(endpoint for upstream, endpoint in self.entries if upstream == host)


def _upstream(host: str) -> str:
    """As a reference to it would name it: index.docker.io is docker.io."""
    return references.Reference.parse(f"{host}/x/y").host
