"""Many requests to the API server at once, as the world around the operator makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Self

import aiohttp

from strata_operator import names
from support import controlplane

Body = dict[str, Any]
_MERGE = "application/merge-patch+json"


class Api:
    """As the administrator. Belongs to one event loop; enter it."""

    def __init__(self, plane: controlplane.ControlPlane) -> None:
        self._url = plane.url
        self._tls = plane.tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=128),
            headers={"User-Agent": "scale-world"},
            timeout=aiohttp.ClientTimeout(total=120),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def ask(self, method: str, path: str, body: Body | None = None, *, content: str = "application/json") -> Any:
        """The JSON of the answer. Raises RuntimeError with what was said."""
        assert self._session
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self._url + path, data=data, headers={"Content-Type": content}
        ) as answer:
            said = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said.decode(errors='replace')[:1000]}")
        return json.loads(said)

    async def create(self, resource: names.Resource, body: Body) -> Body:
        made: Body = await self.ask("POST", resource.path(body["metadata"].get("namespace", "")), body)
        return made

    async def patch(self, resource: names.Resource, key: names.Key, patch: Body, subresource: str = "") -> Body:
        """A JSON merge patch."""
        made: Body = await self.ask("PATCH", resource.path(*key, subresource), patch, content=_MERGE)
        return made

    async def watch(self, resource: names.Resource, *, selector: str = "") -> AsyncIterator[tuple[str, Body]]:
        """(type, body) of what happens from now on, until the caller ends it."""
        async for line in self.lines(resource.path(), selector):
            event = json.loads(line)
            yield event["type"], event["object"]

    async def lines(self, path: str, selector: str) -> AsyncIterator[bytes]:
        """The same as the API server sends it, without the ends of lines."""
        assert self._session
        empty = await self.ask("GET", f"{path}?limit=1")
        query = {
            "watch": "1",
            "resourceVersion": empty["metadata"]["resourceVersion"],
            "timeoutSeconds": "3600",
            "labelSelector": selector,
        }
        forever = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._url + path, params=query, timeout=forever) as answer:
            assert answer.status == 200, await answer.text()
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line


async def each(items: Iterable[Any], do: Callable[[Any], Awaitable[Any]], *, at_once: int = 24) -> None:
    """Do something with every item, some of them at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
