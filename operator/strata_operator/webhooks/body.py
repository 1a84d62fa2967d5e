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
    """`limit` is the most in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class TooSlow(Exception):
    pass


class NoRoom(Exception):
    """Too many bodies are being read."""


async def pieces(request: web.Request, *, limit: int = LIMIT, seconds: float = SECONDS) -> AsyncIterator[bytes]:
    """The body as it comes. Raises TooLarge after `limit` bytes, TooSlow after `seconds`."""
    if (request.content_length or 0) > limit:
        raise TooLarge(limit)
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
            raise TooLarge(limit)
        yield piece


class Room:
    """For bodies that have to be read as one: at most `most` bytes of all of them at a time, `limit` of each."""

    def __init__(self, *, most: int, limit: int) -> None:
        self._left = most
        self.limit = limit

    async def whole(self, request: web.Request) -> bytes:
        """A body. Raises NoRoom before anything of it is read, TooLarge, TooSlow."""
        size = self.limit if request.content_length is None else request.content_length
        if size > self.limit:
            raise TooLarge(self.limit)
        if size > self._left:
            raise NoRoom
        self._left -= size
        try:
            return b"".join([piece async for piece in pieces(request, limit=self.limit)])
        finally:
            self._left += size
