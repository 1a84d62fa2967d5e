"""A registry: one method a request of the OCI distribution specification v1.1. Everything that is read is verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci import reference as references
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry import (
    addresses,
    challenges,
    connect,
    download,
    errors,
    manifests,
    proxies,
    retry,
    upload,
)
from strata_builder.registry.config import Credential, DockerConfig
from strata_builder.registry.counters import Counters, Totals
from strata_builder.registry.manifests import ManifestBytes, PutResult
from strata_builder.registry.session import Call, Session
from strata_builder.registry.transport import Transport


@frozen
class PingResult:
    """`reachable` by the protocol; `authorised` if our credentials (or none) were accepted; `schemes` that the registry
    offers if not."""

    authorised: bool
    schemes: tuple[str, ...] = ()


class Registry:
    """One host (host[:port]). Safe to share between threads.

    `credentials` are looked up a repository at a time, for config files may have keys with paths. `insecure` means
    plain HTTP.
    """

    def __init__(
        self,
        host: str,
        *,
        credentials: DockerConfig | Credential | None = None,
        ca: bytes | None = None,
        insecure: bool = False,
        connect_filter: connect.ConnectFilter | None = None,
        proxies: proxies.Proxies | None = None,
        timeouts: connect.Timeouts | None = None,
        policy: retry.Policy | None = None,
        counters: Counters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self._credentials = credentials
        self._found: dict[str, Credential | None] = {}
        self._counters = counters or Counters()
        self._transport = Transport(_connector(ca, proxies, connect_filter, timeouts), self._counters, clock=clock)
        self._session = Session(
            host,
            addresses.base_url(host, insecure=insecure),
            self._transport,
            self._credential,
            insecure=insecure,
            policy=policy,
            clock=clock,
        )

    @property
    def totals(self) -> Totals:
        return self._counters.totals

    @property
    def session(self) -> Session:
        return self._session

    def close(self) -> None:
        self._transport.close()

    def ping(self) -> PingResult:
        """GET /v2/. Raises Unavailable or TlsFailed if nothing that speaks the protocol answers."""
        call = Call("GET", "/v2/", f"ask {self.host} for its API", accept=(200, 401, 403))
        response = self._session.call(call)
        offered = challenges.parse(response.headers_of("www-authenticate"))
        response.read_all(errors.MAX_BODY)
        return PingResult(response.status == 200, tuple(dict.fromkeys(c.scheme for c in offered)))

    def head_manifest(self, repository: str, version: str) -> Descriptor | None:
        """What a tag or digest names, by HEAD; None if there is none."""
        return manifests.head(self._session, repository, version)

    def resolve(self, reference: references.Reference) -> Descriptor:
        """The descriptor of what `reference` names. Raises NotFound."""
        found = self.head_manifest(reference.repository, reference.version)
        if found is None:
            raise self._not_found(reference.repository, reference.version)
        return found

    def manifest(self, repository: str, version: str) -> ManifestBytes:
        """A manifest or index by tag or digest, verified."""
        return manifests.get(self._session, repository, version)

    def put_manifest(self, repository: str, version: str, data: bytes, media_type: str) -> PutResult:
        """Stores exactly `data` under a tag or its digest. Raises BlobsUnknown with the digests that the registry
        lacks, TagImmutable."""
        return manifests.put(self._session, repository, version, data, media_type)

    def delete_manifest(self, repository: str, version: str) -> bool:
        """False if it was not there. By digest this removes every tag that names it."""
        return manifests.delete(self._session, repository, version)

    def has_blob(self, repository: str, digest: digests.Digest, size: int | None = None) -> bool:
        """By HEAD. A registry may be wrong after a collection: only a read, or the manifest's PUT, is proof."""
        return upload.exists(self._session, repository, digest, size)

    def blob(self, repository: str, digest: digests.Digest, size: int) -> BinaryIO:
        """A reader that verifies digest and size, and goes on after broken connections. Close it."""
        return download.open_blob(self._session, repository, digest, size)

    def blob_bytes(self, repository: str, descriptor: Descriptor, *, limit: int) -> bytes:
        """A small blob. Raises ProtocolError if its descriptor tells of more than `limit` bytes."""
        if descriptor.size > limit:
            raise errors.ProtocolError(
                f"blob {descriptor.digest} of {self.host}/{repository} has {descriptor.size} bytes, more than {limit}",
                host=self.host,
                repository=repository,
            )
        with self.blob(repository, descriptor.digest, descriptor.size) as reader:
            return reader.read()

    def mount_blob(self, repository: str, digest: digests.Digest, source: str) -> bool:
        """True if the blob is now in `repository` without moving a byte. `source` is another repository of this
        registry."""
        begun = upload.start(self._session, repository, mount=digest, source=source)
        if begun.location:
            upload.cancel(self._session, repository, begun.location)
        return begun.mounted

    def upload_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        open_: Callable[[], BinaryIO],
        *,
        check: bool = True,
        mount_from: str = "",
    ) -> bool:
        """Puts a blob there; False if no byte had to move. `open_` gives a new reader at the first byte for each try.

        `check=False` leaves out the HEAD, for a registry that answered BlobsUnknown. `mount_from` is tried first.
        """
        if check and self.has_blob(repository, descriptor.digest, descriptor.size):
            return False
        begun = (
            upload.start(self._session, repository, mount=descriptor.digest, source=mount_from) if mount_from else None
        )
        if begun is not None and begun.mounted:
            return False
        upload.upload(self._session, repository, descriptor, open_, started=begun)
        return True

    def tags(self, repository: str) -> Iterator[str]:
        """All tags, page by page, in the registry's order. Raises NotFound for an unknown repository."""
        from strata_builder.registry import lists  # no build needs it

        return lists.tags(self._session, repository)

    def referrers(self, repository: str, digest: digests.Digest, *, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Manifests whose subject is `digest`; from the fallback tag where the registry has no referrers API."""
        from strata_builder.registry import lists

        return lists.referrers(self._session, repository, digest, artifact_type=artifact_type)

    def _credential(self, repository: str) -> Credential | None:
        """Looked up once a repository: a credential helper is a program to be run."""
        if not isinstance(self._credentials, DockerConfig):
            return self._credentials
        if repository not in self._found:
            self._found[repository] = self._credentials.lookup(self.host, repository)
        return self._found[repository]

    def _not_found(self, repository: str, version: str) -> errors.NotFound:
        at = "@" if digests.is_digest(version) else ":"
        return errors.NotFound(
            f"{self.host}/{repository}{at}{version} does not exist",
            status=404,
            host=self.host,
            repository=repository,
            method="HEAD",
            hint="check the spelling of the repository and the tag",
        )


def _connector(
    ca: bytes | None,
    through: proxies.Proxies | None,
    connect_filter: connect.ConnectFilter | None,
    timeouts: connect.Timeouts | None,
) -> connect.Connector:
    return connect.Connector(ca, through or proxies.Proxies(), connect_filter, timeouts or connect.Timeouts())
