"""A request and its body, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from strata_builder.frozen import field, frozen


@frozen
class Body:
    """A body that can be sent any number of times: `open` gives a new reader at the first of `size` bytes."""

    open: Callable[[], BinaryIO]
    size: int


@frozen
class Request:
    """`authorization` is apart from the headers so that a redirect to a stranger can drop it, and is never shown."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Body | None = None
    authorization: str = field(default="", repr=False)
    is_token: bool = False
