"""One file by URL, as ADD takes it; what an earlier build fetched is not sent again as long as the server says so."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strata_builder import contents, errors
from strata_builder.context import download, headers, limits, validators
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.git import DEFAULT_LIMIT
from strata_builder.layers import decompress
from strata_builder.registry import addresses, transport

_MODE: Final = 0o600  # nobody else's: it may be private
_CONTENT: Final = "content"  # besides the algorithms
_ALGORITHMS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}


def fetch(
    url: str,
    file: Path,
    *,
    checksum: str = "",
    stored: validators.Stored | None = None,
    limit: int = DEFAULT_LIMIT,
    client: download.Client = download.DEFAULTS,
    credentials: Credentials = ANONYMOUS,
) -> validators.Stored:
    """Downloads `url` into `file`; what is compressed for the way, plain. No file is made where the content is still
    `stored`: the server says so, or `checksum` does without being asked.

    `checksum` is `<algorithm>:<hex>` (sha256, sha384, sha512), compared before the file is there. Raises InvalidSpec,
    SourceNotFound, SourceAuthFailed, SourceUnavailable.
    """
    algorithm, wanted = _parse_checksum(checksum)
    if wanted and stored and (algorithm, wanted) != ("sha256", stored.sha256):
        stored = None
    if stored and wanted:
        return _within(stored, limit, url)
    if (conditions := validators.conditions(stored)) and stored:
        with client.open(url, credentials, conditions) as response:
            if validators.confirms(response, stored):
                return _within(stored, limit, url)
            if response.status != 304:
                return _received(response, url, file, limit, algorithm, wanted)
    with client.open(url, credentials) as response:
        return _received(response, url, file, limit, algorithm, wanted)


def _within(stored: validators.Stored, limit: int, url: str) -> validators.Stored:
    limits.Budget(limit, what=addresses.redact(url)).take(stored.size)
    return stored


def _received(
    response: transport.Response, url: str, file: Path, limit: int, algorithm: str, wanted: str
) -> validators.Stored:
    partial = file.with_name(f".{file.name}")
    with download.translated(url):
        try:
            size, digests = _save(response, partial, limit, {"sha256", algorithm or "sha256"}, url)
            if wanted and digests[algorithm] != wanted:
                raise errors.SourceNotFound(
                    f"{addresses.redact(url)} has the {algorithm} {digests[algorithm]}, but {wanted} was asked for",
                    hint="the file has changed: if that is right, write its new checksum",
                )
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    partial.rename(file)
    return validators.Stored(
        name=headers.file_name(url, response.header("content-disposition"), response.url),
        size=size,
        sha256=digests["sha256"],
        content=digests[_CONTENT],
        mtime=headers.parse_time(response.header("last-modified")),
        etag=validators.strong(response.header("etag")),
        at=validators.place(response.url),
    )


def _save(
    response: transport.Response, file: Path, limit: int, algorithms: set[str], url: str
) -> tuple[int, dict[str, str]]:
    budget = limits.Budget(limit, what=addresses.redact(url))
    hashes: dict[str, contents.Hasher] = {name: hashlib.new(name) for name in algorithms}
    hashes[_CONTENT] = contents.hasher()
    size = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    # Buffered, which writes all of a piece or fails: a disk that is nearly full takes a part of one.
    with open(descriptor, "wb") as out:
        for piece in _decoded(response, url):
            budget.take(len(piece))
            for each in hashes.values():
                each.update(piece)
            size += out.write(piece)
    return size, {name: each.hexdigest() for name, each in hashes.items()}


def _decoded(response: transport.Response, url: str) -> Iterator[bytes]:
    """The content without its Content-Encoding (RFC 9110, 8.4), which some servers apply unasked."""
    if response.header("content-encoding").strip().lower() not in ("gzip", "x-gzip"):
        yield from iter(lambda: response.read(1 << 20) or b"", b"")
        return
    try:
        yield from decompress.chunks(response)
    except errors.LayerError as e:
        raise errors.SourceUnavailable(f"cannot fetch {addresses.redact(url)}: {e.message}") from e


def _parse_checksum(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    algorithm, _, digest = text.partition(":")
    if not re.fullmatch(r"[0-9a-f]+", digest) or len(digest) != _ALGORITHMS.get(algorithm, 0):
        raise errors.InvalidSpec(
            f"--checksum={text[:160]!r} is not a digest", hint="for example sha256:<64 hex digits>"
        )
    return algorithm, digest
