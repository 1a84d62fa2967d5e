"""The connection of kopf's watches to the API server, which knows that what a watch or a list goes on from can be too old.

kopf understands "410 Gone" as an event in a watch and ends the process over one that is the answer itself, which servers
and what stands in front of them give as well. So the answer becomes the event, and kopf lists anew.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

import aiohttp
import kopf
from aiohttp.base_protocol import BaseProtocol


def session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """As kopf would make one of `info` itself, with that understanding."""
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        middlewares=(_listed_anew,),
    )
    return kopf.AiohttpSession(
        server=info.server,
        aiohttp_session=made,
        default_namespace=info.default_namespace,
        priority=info.priority,
        expiration=info.expiration,
    )


async def _listed_anew(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    response = await handler(request)
    if request.method != "GET" or response.status != HTTPStatus.GONE:
        return response
    await response.read()
    if request.url.query.get("watch") != "true":  # the rest of a list that took too long: kopf begins it anew
        raise aiohttp.ClientPayloadError(f"{request.url.path}: the list has expired")
    response.status = HTTPStatus.OK
    response.content = _stream({"type": "ERROR", "object": {"kind": "Status", "code": int(HTTPStatus.GONE)}})
    return response


def _stream(event: object) -> aiohttp.StreamReader:
    """A watch in which only this happens."""
    loop = asyncio.get_running_loop()
    found = aiohttp.StreamReader(BaseProtocol(loop), limit=1 << 16, loop=loop)
    found.feed_data(json.dumps(event).encode() + b"\n")
    found.feed_eof()
    return found
