"""Which layer is at fault, said by whoever reads one of several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from strata_builder import errors


@contextlib.contextmanager
def layer(digest: str) -> Iterator[None]:
    """Turns a LayerError into LayerInvalid of the layer whose blob has `digest`; `message` and `hint` stay."""
    try:
        yield
    except errors.LayerInvalid:
        raise
    except errors.LayerError as e:
        raise errors.LayerInvalid(e.message, digest=digest, hint=e.hint) from e
