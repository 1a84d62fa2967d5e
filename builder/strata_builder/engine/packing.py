"""How a step's layer is packed: a small one in the thread of its stage, large ones a few at a time.

Twenty stages that end together would otherwise have twenty times the slabs and threads of a pipeline, for layers of which
most fit into a page.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strata_builder.entries import Item
from strata_builder.layers import compress, pack, pipeline
from strata_builder.layers.items import Items

_SMALL: Final = compress.BLOCK  # one block is compressed by one thread in any case
_HEADER: Final = 512  # bytes that an entry takes at least
#: Each takes what processors there are; more than so many wait for one another, and for slow storage no more.
LARGE_AT_ONCE: Final = max(4, pipeline.available_threads())
_places: Final = threading.BoundedSemaphore(LARGE_AT_ONCE)


def packed(
    items: Items | Sequence[Item], whiteouts: Sequence[bytes], *, blob: Path, compression: str
) -> pack.PackedLayer | None:
    """As `pack.pack`, with the same bytes. Safe for threads."""
    if _is_small(items, whiteouts):
        return pack.pack(items, whiteouts, blob=blob, compression=compression, threads=1)
    with _places:
        return pack.pack(items, whiteouts, blob=blob, compression=compression)


def _is_small(items: Items | Sequence[Item], whiteouts: Sequence[bytes]) -> bool:
    headers = _HEADER * (len(items) + len(whiteouts))
    return headers <= _SMALL and headers + sum(item.entry.size for item in items) <= _SMALL
