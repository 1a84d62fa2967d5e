"""What build leaves on its way to the registry: each blob once, some at a time, and read through before it counts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder import errors
from strata_builder.layers import decompress, unpack
from strata_builder.layers.index import Index
from strata_builder.oci import mediatypes
from strata_builder.oci.image import LayerRef
from strata_builder.pod import exchange, wire

_WORKERS: Final = 4


class Uploads:
    """Puts each blob of a folder into the registry once, some at a time; the first failure is raised by `look`. Of more
    than `most` it is a WireError: a blob that is uploaded may be taken away, and the registry would fill without end."""

    def __init__(self, upload: Callable[[str], None], folder: Path, most: int) -> None:
        self._upload, self._folder, self._most = upload, folder, most
        self._pool = futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="upload")
        self._running: dict[str, futures.Future[None]] = {}

    def look(self) -> None:
        for name in exchange.names(self._folder, self._running.keys()):
            if len(self._running) == self._most:
                raise wire.WireError(f"more layers than the {self._most} steps that were to be made")
            self._running[name] = self._pool.submit(self._upload, name)
        for future in self._running.values():
            if future.done():
                future.result()

    def finish(self) -> None:
        self.look()
        for future in self._running.values():
            future.result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Hashed(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self.hash, self.size = file, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._file.read(-1 if size is None else size)
        self.hash.update(data)
        self.size += len(data)
        return data


def verify(file: BinaryIO, layer: LayerRef) -> Index:
    """Reads a layer of build's through: both digests, size, compression and every entry must be right. Closes `file`;
    returns what the layer holds.

    Raises LayerError.
    """
    found = layer.descriptor
    with file:
        wanted = mediatypes.compression_of(found.media_type)
        if decompress.sniff(file.read(6)) != wanted:
            raise errors.LayerError(
                f"the layer {found.digest} that build made is not compressed as {wanted or 'nothing'}"
            )
        file.seek(0)
        hashed = _Hashed(file)
        contents = unpack.scan(hashed, found.media_type, layer.diff_id)
        while hashed.read(1 << 20):
            """What the decompressor left belongs to the digest."""
    if (f"sha256:{hashed.hash.hexdigest()}", hashed.size) != (found.digest, found.size):
        raise errors.LayerError(f"the layer {found.digest} that build made has another content")
    return contents
