"""What a tag names now, for whoever asks again and again: one HEAD, conditional where the registry gave an ETag.

`client.Registry.head_manifest` answers once; here is what a poll needs besides: the tag of the answer (RFC 9110 §8.8.3,
sent back as If-None-Match), and what a registry says of its limits.
"""

from __future__ import annotations

import re
from typing import Final

from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci import mediatypes
from strata_builder.registry.client import Registry
from strata_builder.registry.session import Call, scope
from strata_builder.registry.transport import Response

_ACCEPT: Final = ("Accept", ", ".join(mediatypes.ACCEPT))
_LIMIT: Final = re.compile(r"([0-9]{1,9})(?:;w=([0-9]{1,9}))?")
_LONGEST_TAG: Final = 512


@frozen
class Quota:
    """Requests that are left of `limit` in `window` seconds, as Docker Hub's ratelimit-* headers tell; 0 = not told."""

    remaining: int
    limit: int = 0
    window: float = 0.0


@frozen
class Head:
    """`unchanged` since the ETag that was sent; else `digest` and `media_type`, each empty where the registry left it
    out."""

    unchanged: bool = False
    digest: digests.Digest | str = ""
    media_type: str = ""
    etag: str = ""
    quota: Quota | None = None


def head(registry: Registry, repository: str, version: str, *, etag: str = "") -> Head:
    """What tag `version` of `repository` names. Raises NotFound and the other RegistryErrors."""
    condition = (("If-None-Match", etag),) if etag else ()
    call = Call(
        "HEAD",
        f"/v2/{repository}/manifests/{version}",
        f"look at {repository}:{version}",
        repository,
        (scope(repository, "pull"),),
        (200, 304) if etag else (200,),
        (_ACCEPT, *condition),
    )
    response = registry.session.call(call)
    response.close()
    tag, quota = response.header("etag").strip(), _quota(response)
    tag = tag if len(tag) <= _LONGEST_TAG and tag.isascii() and tag.isprintable() else ""
    if response.status == 304:
        return Head(unchanged=True, etag=tag or etag, quota=quota)
    digest = response.header("docker-content-digest")
    media_type = response.header("content-type").partition(";")[0].strip()
    return Head(
        digest=digest if digests.is_digest(digest) else "",
        media_type=media_type if media_type in mediatypes.ACCEPT else "",
        etag=tag,
        quota=quota,
    )


def _quota(response: Response) -> Quota | None:
    """From `ratelimit-remaining: 76;w=21600` and its like."""
    remaining = _LIMIT.fullmatch(response.header("ratelimit-remaining").strip())
    if remaining is None:
        return None
    limit = _LIMIT.fullmatch(response.header("ratelimit-limit").strip())
    window = float(remaining[2] or (limit[2] if limit else None) or 0)
    return Quota(int(remaining[1]), int(limit[1]) if limit else 0, window)
