"""A compressed stream as plain chunks. The format is told by the first bytes, never by a name or a media type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from strata_builder import errors
from strata_builder.frozen import frozen

CHUNK: Final = 1 << 20
_HEAD: Final = 6


class Stream(Protocol):
    """What is read from: any binary file."""

    def read(self, size: int = -1, /) -> bytes | None: ...


@frozen
class _Format:
    name: str
    magics: tuple[bytes, ...]
    start: Callable[[], tuple[Any, tuple[type[Exception], ...]]]
    """A fresh decompressor of one member or frame, and what it raises."""


def _gzip() -> tuple[Any, tuple[type[Exception], ...]]:
    from isal import igzip_lib

    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (vars(igzip_lib)["IsalError"], EOFError)


def _zstd() -> tuple[Any, tuple[type[Exception], ...]]:
    from backports import zstd

    return zstd.ZstdDecompressor(), (zstd.ZstdError, EOFError)


def _bzip2() -> tuple[Any, tuple[type[Exception], ...]]:
    import bz2

    return bz2.BZ2Decompressor(), (OSError, EOFError)


def _xz() -> tuple[Any, tuple[type[Exception], ...]]:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20), (lzma.LZMAError, EOFError)


#: RFC 1952; RFC 8878 (with its skippable frames); the bzip2 and xz file formats.
_FORMATS: Final = (
    _Format("gzip", (b"\x1f\x8b\x08",), _gzip),
    _Format("zstd", (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))), _zstd),
    _Format("bzip2", (b"BZh",), _bzip2),
    _Format("xz", (b"\xfd7zXZ\0",), _xz),
)


def sniff(head: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz", or "" for what is none of them; six bytes are enough."""
    return next((known.name for known in _FORMATS if head.startswith(known.magics)), "")


def chunks(stream: Stream) -> Iterator[bytes]:
    """The plain content, in pieces of at most CHUNK bytes. A stream of no known format is passed on as it is.

    Raises LayerError for damaged data and for data that ends before its format says so.
    """
    head = _at_least(stream, _HEAD)
    known = next((known for known in _FORMATS if head.startswith(known.magics)), None)
    if known is not None:
        return _members(stream, head, known)
    return _plain(stream, head)


def _at_least(stream: Stream, size: int) -> bytes:
    head = b""
    while len(head) < size and (more := stream.read(size - len(head))):
        head += more
    return head


def _plain(stream: Stream, head: bytes) -> Iterator[bytes]:
    if head:
        yield head
    while data := stream.read(CHUNK):
        yield data


def _members(stream: Stream, data: bytes, known: _Format) -> Iterator[bytes]:
    while data:
        decompressor, failures = known.start()
        while not decompressor.eof:
            if decompressor.needs_input and not data:
                data = stream.read(CHUNK) or b""
                if not data:
                    raise errors.LayerError(f"the {known.name} data is cut short", hint="fetch the file again")
            try:
                plain = decompressor.decompress(data, CHUNK)
            except failures as error:
                raise errors.LayerError(f"the {known.name} data is damaged: {error}") from error
            data = b""
            if plain:
                yield plain
        data = _next_member(stream, decompressor.unused_data, known)


def _next_member(stream: Stream, data: bytes, known: _Format) -> bytes:
    """What follows a member: another one, or zero bytes up to the end (as tapes and `dd` leave them)."""
    data = data + _at_least(stream, _HEAD - len(data)) if len(data) < _HEAD else data
    if not data or data.startswith(known.magics):
        return data
    while data:
        if data.strip(b"\0"):
            raise errors.LayerError(f"something that is not {known.name} follows the {known.name} data")
        data = stream.read(CHUNK) or b""
    return b""
