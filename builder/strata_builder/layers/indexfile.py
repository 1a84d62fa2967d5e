"""An index as it is kept: deflated records in the order of a walk, the same bytes for the same layer.

Whoever has written it, it is read as if it were hostile.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from isal import isal_zlib

from strata_builder import errors
from strata_builder.entries import Kind
from strata_builder.layers import paths, record
from strata_builder.layers.index import MAX_ENCODED, MAX_ENTRIES, Index, is_text

MEDIA_TYPE: Final = "application/vnd.strata.layer.index.v1+deflate"

_AT_ONCE: Final = 1024  # entries that are encoded together: memory does not grow with the layer
_LEVEL: Final = 2
_MAGIC: Final = b"strata index 2\n"
_MAX_ID: Final = 2**32 - 2
_INFLATE_ERROR: Final[type[Exception]] = vars(isal_zlib)["IsalError"]


def encode(index: Index) -> bytes:
    """Bytes that depend on nothing but the layer."""
    deflate = isal_zlib.compressobj(_LEVEL)
    pieces = _pieces(index)
    parts = []
    while some := b"".join(itertools.islice(pieces, _AT_ONCE)):
        parts.append(deflate.compress(some))
    return b"".join((*parts, deflate.flush()))


def decode(data: bytes) -> Index:
    """The index of `encode`'s bytes. Raises LayerError for anything that `encode` cannot have made."""
    try:
        return _read(_Reader(_inflate(data))).consistent()
    except record.CutShort:
        raise _damaged("it is cut short") from None


def _pieces(index: Index) -> Iterator[bytes]:
    yield _MAGIC + record.count(len(index))
    for path, found in index.records():
        yield record.sized(path) + record.sized(found)
    for group in (index.whiteouts, index.opaque):
        yield record.count(len(group)) + b"".join(map(record.sized, group))
    texts = sorted(index.texts, key=paths.order)
    yield record.count(len(texts)) + b"".join(record.sized(path) + record.sized(index.texts[path]) for path in texts)


def _read(read: _Reader) -> Index:
    if read.take(len(_MAGIC)) != _MAGIC:
        raise _damaged("it does not begin as one")
    records = {path: _checked_record(path, read.sized()) for path in read.paths()}
    whiteouts, opaque = list(read.paths()), list(read.paths())
    texts = {path: read.sized() for path in read.paths()}
    if not all(is_text(path) for path in texts) or read.left():
        raise _damaged("something follows its end")
    return Index(records, whiteouts, opaque, texts)


class _Reader(record.Reader):
    def entries(self) -> int:
        count = self.count()
        if count > MAX_ENTRIES:
            raise _damaged(f"it claims {count} entries, more than {MAX_ENTRIES}")
        return count

    def paths(self) -> Iterator[bytes]:
        """As many paths as a count says, in the order of a walk; the caller reads what follows each."""
        last = None
        for _ in range(self.entries()):
            path = _checked_path(self.sized())
            place = paths.order(path)
            if last is not None and place <= last:
                raise _damaged(f"{paths.show(path)} is out of order")
            yield path
            last = place


def _inflate(data: bytes) -> bytes:
    inflate = isal_zlib.decompressobj()
    try:
        plain = inflate.decompress(data, MAX_ENCODED)
    except _INFLATE_ERROR as error:
        raise _damaged(str(error)) from error
    if not inflate.eof or inflate.unused_data or inflate.unconsumed_tail:
        raise _damaged(f"it is cut short, followed by something, or larger than {MAX_ENCODED >> 20} MiB")
    return bytes(plain)


def _checked_path(path: bytes) -> bytes:
    if paths.is_usual(path):
        return path
    if paths.normalise(path) != path or paths.has_reserved_name(path):
        raise _damaged(f"{paths.show(path)} is no path of a layer")
    return path


def _checked_record(path: bytes, found: bytes) -> bytes:
    if len(found) < record.FIXED.size:
        raise _damaged(f"the record of {paths.show(path)} is cut short")
    kind, mode, uid, gid, _, size = record.FIXED.unpack_from(found)
    if kind > Kind.FIFO or mode > 0o7777 or uid > _MAX_ID or gid > _MAX_ID:
        raise _damaged(f"the record of {paths.show(path)} has an impossible kind, mode or owner")
    plain = (
        len(found) == record.PLAIN_FILE
        if kind == Kind.FILE
        else kind == Kind.DIR and not size and len(found) == record.FIXED.size
    )
    if not plain and record.pack(record.unpack(path, found)) != found:
        raise _damaged(f"the record of {paths.show(path)} is not as this program writes it")
    return found


def _damaged(why: str) -> errors.LayerError:
    return errors.LayerError(f"this is not an index of a layer: {why}", hint="it is made again when it is removed")
