"""A request and its body, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Body:
    """A body that can be sent any number of times: `open` gives a new reader at the first of `size` bytes."""

    open: Callable[[], BinaryIO]
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """`authorization` is apart from the headers so that a redirect to a stranger can drop it, and is never shown."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Body | None = None
    authorization: str = field(default="", repr=False)
    is_token: bool = False
