"""What a base image's name stands for now, asked of a registry with as few requests as can be. Blocks; for threads.

A look that finds nothing new is one HEAD. Only when the digest of what the name stands for has moved is its body read, to
tell whether the manifest of the platform has moved with it: an index changes with its attestations, and with platforms
that nobody here builds.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from strata_builder.oci import descriptor, manifest, mediatypes, platform
from strata_builder.oci import errors as oci_errors
from strata_builder.oci.reference import Reference
from strata_builder.registry import addresses, client, config, connect, heads, patience, proxies, retry
from strata_operator.imagebuild import chains
from strata_operator.imagebuild.triggers.bases import Found

_TIMEOUTS: Final = connect.Timeouts(connect=5.0, read=10.0)
_LONGEST: Final = 60.0  # seconds of a look: a host that is slow on purpose must not keep the threads that all share
_ONCE: Final = retry.Policy(attempts=1)  # whoever polls comes again, when the host has its time
_DEPTH: Final = 4  # indexes that name one another
_OTHERS: Final = 256  # digests of other platforms that are remembered
_CLIENTS: Final = 128


@dataclass(frozen=True, slots=True)
class Source:
    """A registry that may have the image, as host[:port], and the name of the repository there.

    `trusted` is a host that an administrator named, or a registry of Strata's own: its address is not filtered. `ca` is
    PEM, trusted beside the system's.
    """

    host: str
    repository: str
    insecure: bool = False
    trusted: bool = False
    ca: str = field(default="", repr=False)
    credential: config.Credential | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """What is polled: a name for a platform, by way of `sources`, asked in order. Equal places are looked at once."""

    reference: Reference
    platform: platform.Platform
    sources: tuple[Source, ...]

    @property
    def image(self) -> chains.Image:
        return self.reference.host, self.reference.repository, self.reference.version

    @property
    def names(self) -> frozenset[tuple[str, str]]:
        """(host, repository) of the name itself and of each source."""
        own = self.reference.host, self.reference.repository
        return frozenset([own, *((source.host, source.repository) for source in self.sources)])


class Clients:
    """Registry clients that are kept for their connections and tokens. Safe to share between threads."""

    def __init__(self, connect_filter: connect.ConnectFilter, through: proxies.Proxies | None = None) -> None:
        self._filter = connect_filter
        self._proxies = through or proxies.Proxies()
        self._lock = threading.Lock()
        self._made: collections.OrderedDict[Source, client.Registry] = collections.OrderedDict()

    def of(self, source: Source) -> client.Registry:
        """The client for a source, whatever the repository."""
        key = dataclasses.replace(source, repository="")
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(key)
            self._made.move_to_end(key)
            old = [self._made.popitem(last=False)[1] for _ in range(len(self._made) - _CLIENTS)]
        for one in old:
            one.close()
        return self._made[key]

    def close(self) -> None:
        with self._lock:
            made = list(self._made.values())
            self._made.clear()
        for one in made:
            one.close()

    def _make(self, source: Source) -> client.Registry:
        return client.Registry(
            source.host,
            credentials=source.credential,
            ca=source.ca.encode() or None,
            insecure=source.insecure,
            connect_filter=self._admits(source),
            proxies=self._proxies,
            timeouts=_TIMEOUTS,
            policy=_ONCE,
        )

    def _admits(self, source: Source) -> Callable[[str, str], None]:
        """Wherever a registry sends its clients is filtered, too, whether by redirect or as its token server."""
        named = {_host(addresses.base_url(source.host, insecure=source.insecure))} if source.trusted else set()
        named |= {_host(url) for url in (self._proxies.http, self._proxies.https) if url}

        def admits(host: str, address: str) -> None:
            if host not in named:
                self._filter(host, address)

        return admits


def look(
    registry: client.Registry, source: Source, place: Place, known: Found | None
) -> tuple[Found, heads.Quota | None]:
    """What `place` stands for at `source`, given what was known before. Raises BuildError."""
    with patience.within(_LONGEST):
        return _look(registry, source, place, known)


def _look(
    registry: client.Registry, source: Source, place: Place, known: Found | None
) -> tuple[Found, heads.Quota | None]:
    mine = known is not None and known.host == source.host
    head = heads.head(registry, source.repository, place.reference.version, etag=known.etag if known and mine else "")
    if known and (head.unchanged or head.digest == known.top):
        return dataclasses.replace(known, etag=head.etag, host=source.host), head.quota
    found = _read(registry, source, place, head)
    return dataclasses.replace(found, etag=head.etag, host=source.host), head.quota


def _read(registry: client.Registry, source: Source, place: Place, head: heads.Head) -> Found:
    if head.digest and head.media_type in mediatypes.MANIFESTS:
        return Found(head.digest, head.digest)
    name = place.reference.familiar
    top = read = registry.manifest(source.repository, head.digest or place.reference.version)
    document = manifest.parse(read.data, read.media_type, name=name)
    others: set[str] = set()
    for _ in range(_DEPTH):
        if isinstance(document, manifest.Manifest):
            return Found(read.digest, top.digest, frozenset(others))
        child = _child(document, place.platform, name)
        others |= {
            one.digest for one in document.manifests[:_OTHERS] if child is None or one.platform != child.platform
        }
        if child is None or child.media_type in mediatypes.MANIFESTS:
            mine = child.digest if child else ""
            return Found(mine, top.digest, frozenset(others - {mine}))
        read = registry.manifest(source.repository, child.digest)
        document = manifest.parse(read.data, child.media_type, name=name)
    raise oci_errors.ImageInvalid(f"{name}: its indexes are nested more than {_DEPTH} levels deep")


def _child(index: manifest.Index, wanted: platform.Platform, name: str) -> descriptor.Descriptor | None:
    try:
        return index.select(wanted, name=name)
    except oci_errors.PlatformMissing:
        return None


def _host(url: str) -> str:
    """As a connection's filter is told it."""
    return addresses.Origin.of(url if "://" in url else f"http://{url}").host
