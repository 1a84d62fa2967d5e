"""What a registry lists page by page: the tags of a repository, the referrers of a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from strata_builder.oci import digest as digests
from strata_builder.oci import manifest as documents
from strata_builder.oci.descriptor import Descriptor
from strata_builder.registry import addresses, errors, links, manifests
from strata_builder.registry.session import Call, Session, scope

MAX_PAGE: Final = 4 << 20  # bytes
MAX_PAGES: Final = 1000


def tags(session: Session, repository: str) -> Iterator[str]:
    """All tags in the registry's order. Raises NotFound for an unknown repository."""
    path = f"/v2/{repository}/tags/list?n=1000"
    for document in _pages(session, path, f"list the tags of {repository}", repository):
        yield from (tag for tag in _listed(document, "tags") if isinstance(tag, str))


def referrers(
    session: Session, repository: str, digest: digests.Digest, *, artifact_type: str = ""
) -> tuple[Descriptor, ...]:
    """Manifests whose subject is `digest`; from the fallback tag where the registry has no referrers API."""
    path = f"/v2/{repository}/referrers/{digest}"
    query = addresses.with_query(path, "artifactType", artifact_type) if artifact_type else path
    try:
        pages = list(_pages(session, query, f"list the referrers of {digest}", repository))
    except (errors.NotFound, errors.Rejected):
        pages = _of_fallback(session, repository, digest)
    found = [
        Descriptor.from_json(item, f"referrers of {digest}: manifests[{n}]")
        for document in pages
        for n, item in enumerate(_listed(document, "manifests"))
        if isinstance(item, dict)
    ]
    return tuple(item for item in found if not artifact_type or item.artifact_type == artifact_type)


def referrers_tag(digest: digests.Digest) -> str:
    """The tag that stands in for the referrers API (distribution-spec, "Referrers Tag Schema")."""
    return digest.replace(":", "-")


def _of_fallback(session: Session, repository: str, digest: digests.Digest) -> list[dict[str, Any]]:
    try:
        found = manifests.get(session, repository, referrers_tag(digest))
    except errors.NotFound:
        return []
    index = documents.parse_index(found.data, found.media_type, name=f"referrers of {digest}")
    return [{"manifests": [child.to_json() for child in index.manifests]}]


def _pages(session: Session, path: str, doing: str, repository: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    while path and path not in seen and len(seen) < MAX_PAGES:
        seen.add(path)
        response = session.call(Call("GET", path, doing, repository, (scope(repository, "pull"),)))
        link = links.following(response.headers_of("link"))
        yield _page(session, session.limited(response, MAX_PAGE, doing), doing, repository)
        path = _next(session, response.url, link) if link else ""


def _page(session: Session, data: bytes, doing: str, repository: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        message = f"{doing}: {session.host} answered no JSON object"
        raise errors.ProtocolError(message, host=session.host, repository=repository)
    return document


def _next(session: Session, url: str, link: str) -> str:
    following = addresses.resolve(url, link)
    if addresses.Origin.of(following) != addresses.Origin.of(session.base):
        message = f"{session.host} continues its list at another host, {addresses.redact(following)}"
        raise errors.ProtocolError(message, host=session.host)
    return following


def _listed(document: dict[str, Any], key: str) -> list[Any]:
    """Registries say null for an empty list."""
    found = document.get(key)
    return found if isinstance(found, list) else []
