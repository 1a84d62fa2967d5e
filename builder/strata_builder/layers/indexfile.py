"""An index as it is kept: the same bytes for the same layer.

Deflated: directories, their names (`names`), what the entries are (`rows`), and what the layer hides; so all of it is checked
at once, and nothing taken apart. Whoever has written it, it is read as if it were hostile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from isal import isal_zlib

from strata_builder import errors
from strata_builder.layers import names, paths, record, rows
from strata_builder.layers.index import MAX_ENCODED, MAX_ENTRIES, Index, is_text

MEDIA_TYPE: Final = "application/vnd.strata.layer.index.v3+deflate"

_LEVEL: Final = 2
_MAGIC: Final = b"strata index 3\n"
_INFLATE_ERROR: Final[type[Exception]] = vars(isal_zlib)["IsalError"]


def encode(index: Index) -> bytes:
    """Bytes that depend on nothing but the layer."""
    deflate = isal_zlib.compressobj(_LEVEL)
    parts = [deflate.compress(piece) for piece in _pieces(index)]
    return b"".join((*parts, deflate.flush()))


def encoded(index: Index) -> bytes:
    """The bytes that it was read from, else those of `encode`."""
    return encode(index) if index.encoded is None else index.encoded


def decode(data: bytes) -> Index:
    """The index of `encode`'s bytes. Raises LayerError for anything that `encode` cannot have made."""
    found = from_plain(_inflate(data))
    found.encoded = data
    return found


def plain(index: Index) -> bytes:
    """What `encode` deflates."""
    return b"".join(_pieces(index))


def from_plain(data: bytes) -> Index:
    """The index of `plain`'s bytes. Raises LayerError as `decode` does."""
    try:
        return _read(_Reader(data)).consistent()
    except record.Impossible as error:
        raise _damaged(str(error)) from None


def _pieces(index: Index) -> Iterator[bytes]:
    yield _MAGIC + record.count(len(index))
    yield from index.pieces()
    for group in (index.whiteouts, index.opaque):
        yield record.count(len(group)) + b"".join(map(record.sized, group))
    texts = sorted(index.texts, key=paths.order)
    yield record.count(len(texts)) + b"".join(record.sized(path) + record.sized(index.texts[path]) for path in texts)


def _read(read: _Reader) -> Index:
    if read.take(len(_MAGIC)) != _MAGIC:
        raise _damaged("it does not begin as one")
    count = read.entries()
    held, known = names.Names.read(read, count), rows.Rows.read(read, count)
    whiteouts, opaque = list(read.paths()), list(read.paths())
    texts = {path: read.sized() for path in read.paths()}
    if not all(is_text(path) for path in texts) or read.left():
        raise _damaged("something follows its end")
    return Index(held, known, whiteouts, opaque, texts)


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


def _damaged(why: str) -> errors.LayerError:
    return errors.LayerError(f"this is not an index of a layer: {why}", hint="it is made again when it is removed")
