"""The body of a request, piece by piece, and no more of it than there may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

#: A forge sends every changed file's name of a push: megabytes are seen, 25 is GitHub's own limit.
LIMIT: Final = 25 << 20
SECONDS: Final = 30.0


class TooLarge(Exception):
    pass


class TooSlow(Exception):
    pass


async def pieces(request: web.Request, *, limit: int = LIMIT, seconds: float = SECONDS) -> AsyncIterator[bytes]:
    """The body as it comes. Raises TooLarge after `limit` bytes, TooSlow after `seconds`."""
    if (request.content_length or 0) > limit:
        raise TooLarge
    end = asyncio.get_running_loop().time() + seconds
    size = 0
    while True:
        try:
            async with asyncio.timeout_at(end):
                piece = await request.content.readany()
        except TimeoutError as e:
            raise TooSlow from e
        if not piece:
            return
        size += len(piece)
        if size > limit:
            raise TooLarge
        yield piece


async def whole(request: web.Request, *, limit: int) -> bytes:
    """A body that has to be read as one. Raises TooLarge, TooSlow."""
    return b"".join([piece async for piece in pieces(request, limit=limit)])
