"""Codecs of layer blobs: blocks are compressed independently of each other, so the bytes do not depend on who does it.

gzip is laid out as pigz does, in one member (RFC 1952): raw deflate blocks of 1 MiB, each primed with the 32 KiB before
it and ended by a sync flush. Level 2 of ISA-L is the highest whose output is the same on every x86 processor.
zstd is a sequence of frames of 1 MiB (RFC 8878, section 3.1).
"""

from __future__ import annotations

from typing import Final, Protocol

from isal import isal_zlib

from strata_builder import errors
from strata_builder.oci import mediatypes

BLOCK: Final = 1 << 20
WINDOW: Final = 32 << 10
GZIP_LEVEL: Final = 2
ZSTD_LEVEL: Final = 3


class Codec(Protocol):
    """`head`, then `block` of each BLOCK bytes (the last may be shorter) in order, then `tail`, is the whole blob.

    `block` is called from several threads; `window` holds the last WINDOW bytes before the block.
    """

    media_type: str

    def head(self) -> bytes: ...
    def block(self, data: memoryview, window: bytes) -> bytes | memoryview: ...
    def tail(self, crc: int, size: int) -> bytes: ...


class Plain:
    media_type = mediatypes.layer_of("")

    def head(self) -> bytes:
        return b""

    def block(self, data: memoryview, window: bytes) -> memoryview:  # noqa: ARG002
        return data

    def tail(self, crc: int, size: int) -> bytes:  # noqa: ARG002
        return b""


class Gzip:
    media_type = mediatypes.layer_of("gzip")

    def head(self) -> bytes:
        """No name, no time, and "unknown" as the system: nothing of the machine."""
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

    def block(self, data: memoryview, window: bytes) -> bytes:
        deflate = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, -15, 8, isal_zlib.Z_DEFAULT_STRATEGY, window)
        return bytes(deflate.compress(data) + deflate.flush(isal_zlib.Z_SYNC_FLUSH))

    def tail(self, crc: int, size: int) -> bytes:
        return b"\x03\0" + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


class Zstd:
    media_type = mediatypes.layer_of("zstd")

    def head(self) -> bytes:
        return b""

    def block(self, data: memoryview, window: bytes) -> bytes:  # noqa: ARG002
        from backports import zstd

        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: ZSTD_LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
            zstd.CompressionParameter.content_size_flag: 1,
        }
        return bytes(zstd.compress(data, options=options))

    def tail(self, crc: int, size: int) -> bytes:  # noqa: ARG002
        return b""


_CODECS: Final[dict[str, type[Plain | Gzip | Zstd]]] = {"gzip": Gzip, "zstd": Zstd, "none": Plain}


def codec(name: str) -> Codec:
    """The codec called "gzip", "zstd" or "none"."""
    if name not in _CODECS:
        raise errors.InvalidSpec(f"unknown compression {name!r}", hint=f"use one of {', '.join(_CODECS)}")
    return _CODECS[name]()
