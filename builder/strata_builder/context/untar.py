"""A tar archive into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strata_builder.context import limits, writing
from strata_builder.entries import Kind
from strata_builder.layers import decompress, folders, storage, unpack

#: A tar's headers and padding, beyond the bytes of its files.
_OVERHEAD: Final = 256 << 20


def extract(stream: decompress.Stream, dest: Path, budget: limits.Budget) -> int | None:
    """Writes the archive (plain, gzip, bzip2, xz or zstd) below `dest`, which exists and is empty; gives the time of its
    newest file.

    Raises LayerError for what is no archive, InvalidSpec once it is larger than `budget`, StorageLimitExceeded.
    """
    with folders.Folders(dest) as below, storage.full_is_a_limit(dest):
        writer, newest = writing.Writer(below, budget), None
        for entry, content in unpack.read_layer(stream, limits=unpack.Limits(total=budget.limit + _OVERHEAD)):
            writer.write(entry, content)
            if entry.kind == Kind.FILE:
                newest = max(entry.mtime, entry.mtime if newest is None else newest)
        writer.finish()
    return newest
