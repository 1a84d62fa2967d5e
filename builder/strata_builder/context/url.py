"""One file by URL, as ADD takes it: its name, its time, and what tells whether it has changed since."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value, parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from strata_builder import errors
from strata_builder.context import download, folder, limits
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.git import DEFAULT_LIMIT
from strata_builder.layers import decompress
from strata_builder.registry import addresses, transport

MODE: Final = 0o600  # Dockerfile reference, ADD: "the destination will have permissions of 600"
UNNAMED: Final = "__unnamed__"  # BuildKit's name for what neither the URL nor the server names
_ALGORITHMS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Fetched:
    """`file` holds the content, in a folder of its own, with `name`, MODE and the time of Last-Modified (else 0).

    `digest` is the content's sha256 in hex; `etag` what the server calls this version, empty if it does not say.
    """

    name: str
    file: Path
    size: int
    digest: str
    mtime: int
    etag: str = ""

    def tree(self) -> RemoteTree:
        """A context that holds nothing but the file."""
        return RemoteTree(self.file.parent)


class RemoteTree(folder.FolderTree):
    """What ADD fetched: an archive from elsewhere is not unpacked unless that is asked for."""

    is_remote = True


def fetch(
    url: str,
    dest: Path,
    *,
    checksum: str = "",
    limit: int = DEFAULT_LIMIT,
    client: download.Client = download.DEFAULTS,
    credentials: Credentials = ANONYMOUS,
) -> Fetched:
    """Downloads `url` into the folder `dest`, which must be empty or absent; what is compressed for the way, plain.

    `checksum` is `<algorithm>:<hex>` (sha256, sha384, sha512), compared before the file is there. Raises InvalidSpec,
    SourceNotFound, SourceAuthFailed, SourceUnavailable.
    """
    algorithm, wanted = _parse_checksum(checksum)
    dest.mkdir(parents=True, exist_ok=True)
    response = client.open(url, credentials)
    with response, download.translated(url):
        name = file_name(url, response.header("content-disposition"), response.url)
        partial = dest / ".partial"
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
        mtime = parse_time(response.header("last-modified"))
        os.utime(partial, (mtime, mtime))
        partial.rename(dest / name)
        return Fetched(name, dest / name, size, digests["sha256"], mtime, response.header("etag"))


def _save(
    response: transport.Response, file: Path, limit: int, algorithms: set[str], url: str
) -> tuple[int, dict[str, str]]:
    budget = limits.Budget(limit, what=addresses.redact(url))
    hashes = {name: hashlib.new(name) for name in algorithms}
    size = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    with open(descriptor, "wb", buffering=0) as out:
        os.fchmod(descriptor, MODE)
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


def file_name(url: str, disposition: str = "", final_url: str = "") -> str:
    """What the file is called: by the URL as written, else by Content-Disposition, else by where redirects led. Pure.

    UNNAMED if none gives a name.
    """
    names = (_last_part(url), _disposition_name(disposition), _last_part(final_url))
    return next(filter(None, names), UNNAMED)


def _last_part(url: str) -> str:
    return _usable(unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2])


def _disposition_name(header: str) -> str:
    """RFC 6266, filename* before filename."""
    message = Message()
    message["content-disposition"] = header[:4096].replace("\r", "").replace("\n", "")
    try:
        params: list[tuple[str, Any]] = message.get_params([], "content-disposition")  # RFC 2231 values are tuples
        found = [value for name, value in params if name == "filename"]
        extended = [collapse_rfc2231_value(value) for value in found if isinstance(value, tuple)]
    except (ValueError, TypeError):  # of parts without a number, of character sets that are none
        return ""
    name = next(iter([*extended, *(value for value in found if isinstance(value, str))]), "")
    return _usable(name.replace("\\", "/").rpartition("/")[2])


def _usable(name: str) -> str:
    """`name` if it can be a file's, else nothing."""
    bad = name in ("", ".", "..") or "/" in name or any(ord(char) < 32 or "\ud800" <= char <= "\udfff" for char in name)
    return "" if bad or len(name.encode()) > 255 else name


def parse_time(header: str) -> int:
    """Unix seconds of an HTTP date, 0 if there is none that can be read. Pure."""
    try:
        return max(0, min(int(parsedate_to_datetime(header).timestamp()), 2**33))
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
