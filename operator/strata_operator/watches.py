"""The connection of kopf's watches to the API server, by which no trouble of a watch or a list ends the process.

kopf understands one trouble: "410 Gone" as an event in a watch, after which it lists anew. Any other event of an error
(etcd without a leader, a time-out), a line that is no event, and an answer that it does not ask for again end it, and
servers and what stands in front of them give all of these. So each becomes that event, after a pause, and kopf lists anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import kopf
from aiohttp.base_protocol import BaseProtocol

log = logging.getLogger(__name__)

#: kopf asks again by itself, or logs in anew.
_LEFT_TO_KOPF: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
_LIST_ANEW: Final = b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
_FIRST: Final = 1.0  # seconds
_LONGEST: Final = 30.0
_QUIET: Final = 60.0  # seconds without trouble, after which the next one is a first one
_SHOWN: Final = 300  # characters

#: What is done about a trouble, given its words and whether it is one that is in the nature of watches.
_Pause = Callable[[str, bool], Awaitable[None]]


def session(info: kopf.ConnectionInfo, understanding: Understanding) -> kopf.AiohttpSession:
    """As kopf would make one of `info` itself, with that understanding."""
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        middlewares=(understanding,),
    )
    return kopf.AiohttpSession(
        server=info.server,
        aiohttp_session=made,
        default_namespace=info.default_namespace,
        priority=info.priority,
        expiration=info.expiration,
    )


class Understanding:
    """A middleware that turns the troubles of watches and lists into what kopf understands. There is one for all sessions
    of a process: a token that is refused ends a session, and is to be refused ever more rarely."""

    def __init__(self) -> None:
        self._troubles: dict[
            str, tuple[int, float]
        ] = {}  # by path: how many in a row, and until when they were waited for

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        query, path = request.url.query, request.url.path
        await self._heed(response, path)
        watches = query.get("watch") == "true"
        if request.method != "GET" or not (watches or "limit" in query):
            return response

        async def pause(why: str, usual: bool) -> None:
            await self._pause(path, why, usual)

        if why := await _refusal(response):
            await pause(why, response.status == HTTPStatus.GONE)
            if not watches:
                response.close()
                raise aiohttp.ClientPayloadError(f"{path}: {why}")  # kopf begins the list anew
            response.status, response.content = HTTPStatus.OK, _stream(_LIST_ANEW)
        elif watches and response.status == HTTPStatus.OK:
            response.content = _Events(response.content, pause)  # type: ignore[assignment]  # it is one to all who read it
        return response

    async def _heed(self, response: aiohttp.ClientResponse, path: str) -> None:
        """What may come as the answer to any request, and has kopf ask too often, too late or never again."""
        if response.status == HTTPStatus.UNAUTHORIZED:  # kopf logs in anew and asks again, at once and for ever
            await response.read()  # by the end of the pause its connection may be closed
            await self._pause(path, "answered 401", usual=True)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS and not _is_soon(response.headers.get("Retry-After", "0")):
            response.close()
            raise aiohttp.ClientConnectionError(f"{path}: answered 429")  # after which kopf asks again by its own times

    async def _pause(self, path: str, why: str, usual: bool) -> None:
        """Wait before the list: longer with each trouble in a row, and not for the first one if it is a usual one."""
        now = asyncio.get_running_loop().time()
        count, until = self._troubles.get(path, (0, now))
        count = 1 if now > until + _QUIET else count + 1
        delay = min(_FIRST * 2.0 ** min(count - 1, 30), _LONGEST) * random.uniform(0.8, 1.2)  # noqa: S311  jitter
        if usual and count == 1:
            delay = 0.0
        self._troubles[path] = (count, now + delay)
        log.log(logging.INFO if usual else logging.WARNING, "%s: %s; asked anew in %.1f s", path, why, delay)
        await asyncio.sleep(delay)


class _Events:
    """The content of a watch's answer up to the first line that is no event; instead of that one, what has kopf list anew."""

    def __init__(self, content: aiohttp.StreamReader, pause: _Pause) -> None:
        self._content, self._pause = content, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines. It is what kopf reads by."""
        rest, began, silent = b"", asyncio.get_running_loop().time(), True
        async for piece in _unbroken(self._content.iter_chunked(size)):
            *lines, rest = (rest + piece).split(b"\n")
            silent = False
            for line in filter(None, lines):
                if found := _trouble(line):
                    await self._pause(*found)
                    yield _LIST_ANEW
                    return
                yield line + b"\n"
        if rest:
            if found := _trouble(rest):
                await self._pause(*found)
            yield _LIST_ANEW if found else rest
        elif silent and asyncio.get_running_loop().time() < began + _FIRST:
            # kopf would ask again at once, and for ever
            await self._pause("ended without a word", False)
            yield _LIST_ANEW


async def _unbroken(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Who logs in anew closes all connections, and aiohttp knows no word of its own for who was not waiting just then."""
    try:
        async for piece in pieces:
            yield piece
    except RuntimeError as e:
        raise aiohttp.ClientConnectionError(str(e)) from e


def _trouble(line: bytes) -> tuple[str, bool] | None:
    """What is wrong with a line of a watch, and whether it is "410 Gone"; None for an event."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        return _shown(f"no event: {line[:_SHOWN].decode(errors='replace')}"), False
    told = event.get("object")
    if event.get("type") not in (None, "ERROR") and isinstance(told, dict):
        return None
    status = told if isinstance(told, dict) else event  # some put the Status there by itself
    words = [str(status[key]) for key in ("code", "reason", "message") if status.get(key)]
    return _shown(" ".join(words) or str(event)), status.get("code") == HTTPStatus.GONE


def _is_soon(retry_after: str) -> bool:
    """Whether kopf may be told: it would end over a date, and sleep for as long as anybody asks it to."""
    return retry_after.isascii() and retry_after.isdigit() and int(retry_after[:9]) <= _LONGEST


async def _refusal(response: aiohttp.ClientResponse) -> str:
    """Why an answer is none that kopf can do something with; empty if it is one."""
    status = response.status
    if status < HTTPStatus.BAD_REQUEST:
        kind = response.content_type
        return "" if kind == "application/json" else f"answered {status} with {_shown(kind)} instead of JSON"
    if status in _LEFT_TO_KOPF or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ""
    return _shown(f"answered {status}: {await response.text(errors='replace')}")


def _shown(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]


def _stream(line: bytes) -> aiohttp.StreamReader:
    """A watch in which only this happens."""
    loop = asyncio.get_running_loop()
    found = aiohttp.StreamReader(BaseProtocol(loop), limit=1 << 16, loop=loop)
    found.feed_data(line)
    found.feed_eof()
    return found
