"""Whether a URL still gives what an earlier build fetched from it, asked by the content's entity tag. Pure.

Only a strong tag stands for bytes (RFC 9110, 8.8.1); a weak one and Last-Modified do not: two contents of one second, or
of one meaning, share them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Protocol
from urllib.parse import urlsplit

from strata_builder.context import headers
from strata_builder.frozen import frozen
from strata_builder.registry import addresses

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class Response(Protocol):
    status: int
    url: str

    def header(self, name: str, default: str = "") -> str: ...


@frozen
class Stored:
    """What a GET brought, its body aside: the file's `name`, its `size` in bytes, the `sha256` (hex) of its content and what
    tells `contents` apart (hex), `mtime` in Unix seconds (0 where the server did not say), the strong `etag` ("" without one).

    `at` stands for where redirects led; the same tag elsewhere may be of something else.
    """

    name: str
    size: int
    sha256: str
    content: str
    mtime: int
    etag: str
    at: str

    def __post_init__(self) -> None:
        """Raises ValueError for what no GET can have brought: such values become names of files and lines of requests."""
        usable = headers.is_name(self.name) and 0 <= self.size < 1 << 62 and 0 <= self.mtime <= headers.MAX_TIME
        hexes = all(map(_HEX.fullmatch, (self.sha256, self.content, self.at)))
        if not (usable and hexes and self.etag == strong(self.etag)):
            raise ValueError(f"what is stored of the file {self.name[:80]!r} is not what a server says of one")


def url_id(url: str) -> str:
    """What a URL is kept under: its query may be a secret."""
    return hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()


def place(url: str) -> str:
    """Where a redirect led, without the query: storage signs each one anew."""
    origin = addresses.Origin.of(url)
    return url_id(f"{origin.scheme}://{origin.netloc}{urlsplit(url).path}")


def strong(etag: str) -> str:
    """`etag` if it is a strong one that is worth keeping, else ""."""
    return etag if _STRONG.fullmatch(etag) else ""


def conditions(stored: Stored | None) -> tuple[tuple[str, str], ...]:
    """The headers that ask for the body only if it is no longer `stored`."""
    return (("If-None-Match", stored.etag),) if stored and stored.etag else ()


def confirms(response: Response, stored: Stored | None) -> bool:
    """Whether `response` says that the content is still `stored`; a word of another version, place or time is none."""
    if stored is None or response.status != 304 or place(response.url) != stored.at:
        return False
    said = response.header("last-modified")
    return response.header("etag", stored.etag) == stored.etag and (
        not said or headers.parse_time(said) == stored.mtime
    )
