"""A registry: one method a request of the OCI distribution specification v1.1. Everything that is read is verified."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci import manifest as manifests
from strata_builder.oci import mediatypes
from strata_builder.oci import reference as references
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry import addresses, challenges, connect, download, errors, links, proxies, retry, upload
from strata_builder.registry.config import Credential, DockerConfig
from strata_builder.registry.counters import Counters, Totals
from strata_builder.registry.session import Call, Session, scope, warnings_of
from strata_builder.registry.transport import Response, Transport

MAX_LIST: Final = 4 << 20  # bytes of one page
MAX_PAGES: Final = 1000
_TAG_FIXED: Final = frozenset({400, 403, 409, 412})


class ManifestBytes(NamedTuple):
    """A manifest exactly as stored; `digest` is that of `data`."""

    data: bytes
    media_type: str
    digest: digests.Digest


@frozen
class PingResult:
    """`reachable` by the protocol; `authorised` if our credentials (or none) were accepted; `schemes` that the registry
    offers if not."""

    authorised: bool
    schemes: tuple[str, ...] = ()


@frozen
class PutResult:
    """`subject` is the digest that the registry linked as a referrer ("" = the fallback tag must be kept); `warnings`
    are for people."""

    digest: digests.Digest
    subject: str = ""
    warnings: tuple[str, ...] = ()


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
        """What a tag or digest names, by HEAD; None if there is none. A registry that leaves the digest out is asked by
        GET."""
        call = self._manifest_call("HEAD", repository, version)
        try:
            response = self._session.call(call)
        except errors.NotFound:
            return None
        response.close()
        digest, size = response.header("docker-content-digest"), response.length
        media_type = response.header("content-type").partition(";")[0].strip()
        if digests.is_digest(digest) and size is not None and media_type in mediatypes.ACCEPT:
            return Descriptor(media_type, digest, size)
        found = self.manifest(repository, version)
        return Descriptor(found.media_type, found.digest, len(found.data))

    def resolve(self, reference: references.Reference) -> Descriptor:
        """The descriptor of what `reference` names. Raises NotFound."""
        found = self.head_manifest(reference.repository, reference.version)
        if found is None:
            raise self._not_found(reference.repository, reference.version)
        return found

    def manifest(self, repository: str, version: str) -> ManifestBytes:
        """A manifest or index by tag or digest, verified against the digest asked for and the one that the registry
        states."""
        response = self._session.call(self._manifest_call("GET", repository, version))
        stated = response.header("docker-content-digest")
        media_type = response.header("content-type").partition(";")[0].strip()
        data = self._limited(response, manifests.MAX_MANIFEST, f"manifest {repository}:{version}")
        actual = digests.of(data)
        for expected in (version if digests.is_digest(version) else "", stated):
            if expected and expected != actual:
                raise errors.DigestMismatch(
                    f"manifest {version} of {self.host}/{repository} should have digest {expected} but has {actual}",
                    host=self.host,
                    repository=repository,
                    method="GET",
                )
        return ManifestBytes(data, media_type, actual)

    def put_manifest(self, repository: str, version: str, data: bytes, media_type: str) -> PutResult:
        """Stores exactly `data` under a tag or its digest. Raises BlobsUnknown with the digests that the registry
        lacks, TagImmutable."""
        if len(data) > manifests.MAX_MANIFEST:
            raise errors.TooLarge(
                f"the manifest has {len(data)} bytes, more than a registry takes ({manifests.MAX_MANIFEST})",
                host=self.host,
            )
        digest = digests.of(data)
        call = Call(
            "PUT",
            f"/v2/{repository}/manifests/{version}",
            f"push manifest {version}",
            repository,
            (scope(repository, "pull,push"),),
            (201, 202),
            (("Content-Type", media_type),),
            data,
        )
        try:
            response = self._session.call(call)
        except errors.RegistryError as e:
            if (
                e.status in _TAG_FIXED
                and not digests.is_digest(version)
                and self._has_same(repository, version, digest)
            ):
                return PutResult(digest)
            raise
        response.read_all(errors.MAX_BODY)
        stated = response.header("docker-content-digest")
        if stated and stated != digest:
            raise errors.DigestMismatch(
                f"{self.host}/{repository} stored manifest {digest} as {stated}",
                host=self.host,
                repository=repository,
                method="PUT",
            )
        return PutResult(digest, response.header("oci-subject"), warnings_of(response))

    def delete_manifest(self, repository: str, version: str) -> bool:
        """False if it was not there. By digest this removes every tag that names it."""
        call = Call(
            "DELETE",
            f"/v2/{repository}/manifests/{version}",
            f"delete manifest {version}",
            repository,
            (scope(repository, "delete"),),
            (200, 202, 204),
        )
        try:
            self._session.call(call).read_all(errors.MAX_BODY)
        except errors.NotFound:
            return False
        return True

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
        path = f"/v2/{repository}/tags/list?n=1000"
        for document in self._pages(path, f"list the tags of {repository}", repository):
            yield from (tag for tag in _listed(document, "tags") if isinstance(tag, str))

    def referrers(self, repository: str, digest: digests.Digest, *, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Manifests whose subject is `digest`; from the fallback tag where the registry has no referrers API."""
        path = f"/v2/{repository}/referrers/{digest}"
        query = addresses.with_query(path, "artifactType", artifact_type) if artifact_type else path
        try:
            documents = list(self._pages(query, f"list the referrers of {digest}", repository))
        except (errors.NotFound, errors.Rejected):
            documents = self._fallback_referrers(repository, digest)
        found = [
            Descriptor.from_json(item, f"referrers of {digest}: manifests[{n}]")
            for document in documents
            for n, item in enumerate(_listed(document, "manifests"))
            if isinstance(item, dict)
        ]
        return tuple(item for item in found if not artifact_type or item.artifact_type == artifact_type)

    def _fallback_referrers(self, repository: str, digest: digests.Digest) -> list[dict[str, Any]]:
        try:
            found = self.manifest(repository, referrers_tag(digest))
        except errors.NotFound:
            return []
        index = manifests.parse_index(found.data, found.media_type, name=f"referrers of {digest}")
        return [{"manifests": [child.to_json() for child in index.manifests]}]

    def _pages(self, path: str, doing: str, repository: str) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        while path and path not in seen and len(seen) < MAX_PAGES:
            seen.add(path)
            response = self._session.call(Call("GET", path, doing, repository, (scope(repository, "pull"),)))
            link = links.following(response.headers_of("link"))
            data = self._limited(response, MAX_LIST, doing)
            try:
                document = json.loads(data)
            except (ValueError, RecursionError):
                document = None
            if not isinstance(document, dict):
                raise errors.ProtocolError(
                    f"{doing}: {self.host} answered no JSON object", host=self.host, repository=repository
                )
            yield document
            path = self._next(response.url, link) if link else ""

    def _next(self, url: str, link: str) -> str:
        following = addresses.resolve(url, link)
        if addresses.Origin.of(following) != addresses.Origin.of(self._session.base):
            raise errors.ProtocolError(
                f"{self.host} continues its list at another host, {addresses.redact(following)}", host=self.host
            )
        return following

    def _manifest_call(self, method: str, repository: str, version: str) -> Call:
        accept = (("Accept", ", ".join(mediatypes.ACCEPT)),)
        doing = f"pull manifest {repository}{'@' if digests.is_digest(version) else ':'}{version}"
        return Call(
            method,
            f"/v2/{repository}/manifests/{version}",
            doing,
            repository,
            (scope(repository, "pull"),),
            headers=accept,
        )

    def _has_same(self, repository: str, tag: str, digest: digests.Digest) -> bool:
        found = self.head_manifest(repository, tag)
        return found is not None and found.digest == digest

    def _limited(self, response: Response, limit: int, what: str) -> bytes:
        data = response.read_all(limit + 1)
        if len(data) > limit:
            raise errors.ProtocolError(f"{what}: {self.host} answered more than {limit} bytes", host=self.host)
        return data

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


def referrers_tag(digest: digests.Digest) -> str:
    """The tag that stands in for the referrers API (distribution-spec, "Referrers Tag Schema")."""
    return digest.replace(":", "-")


def _listed(document: dict[str, Any], key: str) -> list[Any]:
    """Registries say null for an empty list."""
    found = document.get(key)
    return found if isinstance(found, list) else []


def _connector(
    ca: bytes | None,
    through: proxies.Proxies | None,
    connect_filter: connect.ConnectFilter | None,
    timeouts: connect.Timeouts | None,
) -> connect.Connector:
    return connect.Connector(ca, through or proxies.Proxies(), connect_filter, timeouts or connect.Timeouts())
