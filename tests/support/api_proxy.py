"""A proxy between an operator and its API server that does what networks, busy servers and other writers do.

Real sockets on both sides: plain HTTP in front, whatever the API server speaks behind. Watches are streamed, so that
they can be cut, late, or begin with 410. Each `Rule` says what happens to which requests; a script adds and removes
them, and one seed decides whom they hit. `with Proxy(upstream).serving() as proxy:` runs it in a thread of its own.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import yarl
from aiohttp import web

from support import loops

_T = TypeVar("_T")
_HOP: frozenset[str] = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "te", "upgrade"}
)
_BOOKMARK = b'{"type":"BOOKMARK","object":{"kind":"'


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not passed on: the server is too busy, or broken. `retry_after` in seconds, or as a date."""

    status: int
    retry_after: int | str | None = None

    def __str__(self) -> str:
        return f"answered {self.status}"


@dataclass(frozen=True, slots=True)
class Delay:
    """Passed on later, and of a watch every piece comes later: seconds, at least and at most."""

    least: float
    most: float

    def __str__(self) -> str:
        return "delayed"


@dataclass(frozen=True, slots=True)
class Drop:
    """Passed on and carried out; the connection ends before the answer."""

    def __str__(self) -> str:
        return "answer dropped"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else writes to the object just before it is passed on: Proxy.interfere."""

    def __str__(self) -> str:
        return "conflicting write"


@dataclass(frozen=True, slots=True)
class Gone:
    """A watch is told that what it wants to go on from is too old, in its stream or instead of one."""

    in_stream: bool = True

    def __str__(self) -> str:
        return "watch answered 410"


@dataclass(frozen=True, slots=True)
class Tell:
    """A watch has this instead of events, and then its end; `kind` is the Content-Type of the answer."""

    text: str
    kind: str = "application/json"

    def __str__(self) -> str:
        return "watch told something else"


Action = Refuse | Delay | Drop | Conflict | Gone | Tell


@dataclass(slots=True)
class Rule:
    """What happens to requests with this method and path (regular expressions), as often as `chance` says."""

    action: Action
    method: str = ""
    path: str = ""
    chance: float = 1.0
    times: int | None = None  # None = until it is removed

    def hits(self, request: web.BaseRequest, chance: random.Random) -> bool:
        if self.times == 0 or (isinstance(self.action, Gone | Tell) and not is_watch(request)):
            return False
        if not re.fullmatch(self.method or ".*", request.method) or not re.search(self.path, request.path):
            return False
        if self.chance < 1.0 and chance.random() >= self.chance:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _Watch:
    """One open watch."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.response = web.StreamResponse(headers={"Content-Type": "application/json"})

    async def cut(self, *, middle: bool) -> None:
        """End its connection, at the end of a line or in the `middle` of one."""
        if middle:
            with contextlib.suppress(ConnectionError):
                await self.response.write(_BOOKMARK)
                await asyncio.sleep(0)
        abort(self.request)


class Proxy:
    """In front of `upstream` (URL). `interfere` writes to the object of a path as somebody else would."""

    def __init__(
        self,
        upstream: str,
        *,
        tls: ssl.SSLContext | None = None,
        seed: int = 0,
        interfere: Callable[[str], Awaitable[None] | None] = lambda _path: None,
        host: str = "127.0.0.1",
    ) -> None:
        self.upstream = upstream.rstrip("/")
        self.url = ""
        self.rules: list[Rule] = []
        self.injected: collections.Counter[str] = collections.Counter()
        self.passed: collections.Counter[str] = collections.Counter()
        self._tls = tls
        self._host = host
        self._chance = random.Random(seed)
        self._interfere = interfere
        self._watches: set[_Watch] = set()
        self._closed = asyncio.Event()  # while set, no watch is opened
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None

    # -- what tests do, in any thread --

    @contextlib.contextmanager
    def serving(self) -> Iterator[Self]:
        thread = loops.started(self._loop, "api-proxy")
        runner = self._call(self._start())
        self.url = f"http://{self._host}:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._call(self._stop(runner))
            loops.ended(self._loop, thread)

    @contextlib.contextmanager
    def having(self, *rules: Rule) -> Iterator[None]:
        """The rules hold meanwhile."""
        self.rules = [*self.rules, *rules]
        try:
            yield
        finally:
            self.rules = [rule for rule in self.rules if not any(rule is one for one in rules)]

    def cut(self, *, middle: bool = False, path: str = "") -> int:
        """End the connections of all open watches whose path ends so; how many there were."""
        return self._call(self._cut(middle=middle, path=path))

    @contextlib.contextmanager
    def gap(self, *, in_stream: bool = True) -> Iterator[None]:
        """No watch meanwhile; each is told afterwards, once, that it has to list anew."""
        self._loop.call_soon_threadsafe(self._closed.set)
        kinds = {watch.request.path for watch in self._watches}
        self.cut()
        try:
            yield
        finally:
            once = [Rule(Gone(in_stream), path=f"^{re.escape(path)}$", times=1) for path in sorted(kinds)]
            self.rules = [r for r in self.rules if r.times != 0 or not isinstance(r.action, Gone)] + once
            self._loop.call_soon_threadsafe(self._closed.clear)

    @property
    def watches(self) -> list[str]:
        """Paths of the open watches."""
        return sorted(watch.request.path for watch in self._watches)

    def kubeconfig(self, folder: Path, token: str = "") -> Path:
        """A file that has a client go through here, with that bearer token."""
        user = {"token": token} if token else {}
        named = {"cluster": "proxied", "user": "client"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxied", "cluster": {"server": self.url}}],
            "users": [{"name": "client", "user": user}],
            "contexts": [{"name": "proxied", "context": named}],
            "current-context": "proxied",
        }
        file = folder / "proxied.kubeconfig"
        file.write_text(json.dumps(document))
        file.chmod(0o600)
        return file

    # -- what the proxy does, in its thread --

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> web.AppRunner:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, self._host, 0).start()
        return runner

    async def _stop(self, runner: web.AppRunner) -> None:
        await self._cut(middle=False)
        await runner.cleanup()
        if self._session:
            await self._session.close()

    async def _cut(self, *, middle: bool, path: str = "") -> int:
        watches = [watch for watch in self._watches if watch.request.path.endswith(path)]
        for watch in watches:
            self.injected["watch cut in a line" if middle else "watch cut"] += 1
            await watch.cut(middle=middle)
        return len(watches)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if is_watch(request) and self._closed.is_set():
            return abort(request)
        body = await request.read()
        drop = False
        for rule in [rule for rule in self.rules if rule.hits(request, self._chance)]:
            action = rule.action
            self.injected[str(action)] += 1
            if isinstance(action, Refuse):
                return refused(action)
            if isinstance(action, Gone):
                return await _told(request, error(410)) if action.in_stream else refused(Refuse(410))
            if isinstance(action, Tell):
                return await _told(request, action)
            if isinstance(action, Delay):
                await asyncio.sleep(self._chance.uniform(action.least, action.most))
            if isinstance(action, Conflict):
                await self._meddle(request.path)
            drop = drop or isinstance(action, Drop)
        return await self._pass(request, body, drop=drop)

    async def _meddle(self, path: str) -> None:
        done = await asyncio.to_thread(self._interfere, path)
        if done is not None:
            await done

    async def _pass(self, request: web.Request, body: bytes, *, drop: bool) -> web.StreamResponse:
        url = yarl.URL(self.upstream + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["Accept-Encoding"] = "identity"
        timeout = aiohttp.ClientTimeout(total=None if is_watch(request) else 120, sock_connect=5)
        assert self._session
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                self.passed[request.method] += 1
                if is_watch(request) and answer.status == 200:
                    return await self._stream(request, answer)
                data = await answer.read()
                if drop:
                    return abort(request)
                return web.Response(status=answer.status, body=data, headers=_kept(answer.headers))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return abort(request)  # as the server itself, which is not there

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        watch = _Watch(request)
        await watch.response.prepare(request)
        self._watches.add(watch)
        try:
            async for piece in answer.content.iter_any():
                for rule in self.rules:
                    if isinstance(rule.action, Delay) and rule.hits(request, self._chance):
                        await asyncio.sleep(self._chance.uniform(rule.action.least, rule.action.most))
                await watch.response.write(piece)
            await watch.response.write_eof()
        finally:
            self._watches.discard(watch)
        return watch.response


def is_watch(request: web.BaseRequest) -> bool:
    return request.method == "GET" and request.query.get("watch") in ("true", "1")


def abort(request: web.BaseRequest) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)  # nobody reads it


def refused(action: Refuse) -> web.Response:
    """As the API server words it."""
    headers = {} if action.retry_after is None else {"Retry-After": str(action.retry_after)}
    return web.json_response(_status(action.status), status=action.status, headers=headers)


def error(code: int, **more: Any) -> Tell:
    """The event of an error as the API server words it."""
    return Tell(json.dumps({"type": "ERROR", "object": _status(code) | more}) + "\n")


async def _told(request: web.Request, action: Tell) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": action.kind})
    await response.prepare(request)
    await response.write(action.text.encode())
    await response.write_eof()
    return response


def _status(code: int) -> dict[str, Any]:
    reasons = {410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    texts = {410: "too old resource version", 429: "too many requests, please try again later"}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reasons.get(code, "InternalError"),
        "message": texts.get(code, "injected by a test"),
    }


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}
