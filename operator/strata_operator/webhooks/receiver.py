"""Taking a delivery: the order of what is checked, and what is answered, in words that forges show to people.

Who does not know the token learns nothing: whether such an ImageBuild exists, has a webhook or a readable Secret is
answered alike, after the whole body was hashed and at a moment that does not depend on it. What a registry tells is
kept to be parsed, so there the token stands in the head, and nothing of the body is read before it is right.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from strata_operator import controller, kube, names
from strata_operator.registry import material, view
from strata_operator.webhooks import (
    body,
    deliveries,
    envelopes,
    forward,
    limits,
    peers,
    replicas,
    signatures,
    tokens,
    words,
)

log = logging.getLogger(__name__)

REFUSAL_SECONDS: Final = 1.0  # a refusal is told at a whole number of these after the request began
_ENVELOPE: Final = 1 << 20  # bytes of what a registry tells at once; a thousand pushes are less
_ENVELOPES: Final = 16 << 20  # bytes of all of them that are being read
_Answer = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Roles:
    """Whether this operator acts, and how to reach the one that does."""

    acts: Callable[[], bool]
    forwarder: forward.Forwarder


class Receiver:
    """The pages /hooks/<namespace>/<name> of ImageBuilds and /registries/<namespace>/<name> of managed Registries."""

    def __init__(self, frame: controller.Frame, roles: Roles) -> None:
        self._frame = frame
        self._roles = roles
        self._tokens = tokens.Tokens(frame.kube)
        self._nobodys = secrets.token_hex(32)  # hashed with where there is no token
        self._peers = peers.Peers(frame.settings.webhook_trusted_proxies)
        self._replicas = replicas.Replicas(frame.kube, frame.settings.namespace)
        self._envelopes = body.Room(most=_ENVELOPES, limit=_ENVELOPE)
        self._by_peer = limits.Buckets(rate=10.0, burst=200.0)
        self._by_path = limits.Buckets(rate=1.0, burst=60.0)  # of deliveries that are right: others could use it up
        self._later: set[names.Key] = set()

    def application(self) -> web.Application:
        app = web.Application(handler_args={})
        app.router.add_post("/hooks/{namespace}/{name}", self._page("imagebuild", self._hook))
        app.router.add_post("/registries/{namespace}/{name}", self._page("registry", self._registry))
        return app

    def _page(self, kind: str, answer: _Answer) -> _Answer:
        """What is the same for both: limits, who acts, what is counted."""

        async def page(request: web.Request) -> web.Response:
            started = asyncio.get_running_loop().time()
            try:
                response = await self._admitted(request, answer)
            except body.TooLarge as e:
                response = words.too_large(e.limit)
            except body.NoRoom:
                response = words.no_room()
            except body.TooSlow:
                response = words.too_slow()
            if response.status == words.REFUSED:
                await _until_next(started)
            self._frame.metrics.webhooks.labels(kind, words.result(response.status)).inc()
            return response

        return page

    async def _admitted(self, request: web.Request, answer: _Answer) -> web.Response:
        if wait := await self._wait(request):
            return words.too_often("you deliver", wait)
        if self._roles.acts():
            return await answer(request)
        try:
            return await self._roles.forwarder.forward(request, body.pieces(request))
        except forward.Nobody as e:
            log.warning("a delivery is not taken: %s", e)
            return words.nobody_acts()

    async def _wait(self, request: web.Request) -> float:
        """Seconds for which whoever delivers is to wait, 0 if he need not: counted once, by the operator that he reaches."""
        if forward.FORWARDED in request.headers and await self._replicas.have(request.remote or ""):
            return 0.0
        return self._by_peer.take(self._peers.of(request), asyncio.get_running_loop().time())

    async def _hook(self, request: web.Request) -> web.Response:
        key = names.Key(request.match_info["namespace"], request.match_info["name"])
        build = self._frame.cache[names.IMAGEBUILDS].get(*key)
        secret = _secret(build)
        token = await self._tokens.get(key.namespace, secret) if secret else ""
        check = signatures.Check(token or self._nobodys, request.headers)
        async for piece in body.pieces(request):
            check.feed(piece)
        if build is not None and secret and not token:
            self._frame.hints.deaf(build)
        if not check.proven() or not token or build is None:
            return words.refused()
        delivery = deliveries.read(request.headers)
        if wait := self._by_path.take(key, asyncio.get_running_loop().time()):
            self._tell_later(key, delivery, wait)
            return words.too_often("this ImageBuild is delivered to", wait)
        return self._told(key, build, delivery)

    def _tell_later(self, key: names.Key, delivery: deliveries.Delivery, seconds: float) -> None:
        """The last of many pushes is repeated by few forges: one look for all that come too often."""
        if delivery.kind is deliveries.Kind.PUSH and key not in self._later:
            self._later.add(key)
            asyncio.get_running_loop().call_later(seconds, self._tell_now, key)

    def _tell_now(self, key: names.Key) -> None:
        self._later.discard(key)
        if build := self._frame.cache[names.IMAGEBUILDS].get(*key):
            self._frame.hints.source(build)

    def _told(self, key: names.Key, build: kube.Object, delivery: deliveries.Delivery) -> web.Response:
        """It is from who it should be."""
        spec = build.get("spec") or {}
        if delivery.kind is deliveries.Kind.PUSH:
            self._frame.hints.source(build)
            log.info("webhook of %s (%s, %s): its source is looked at", key, delivery.forge, delivery.event)
        return words.told(key, spec, delivery)

    async def _registry(self, request: web.Request) -> web.Response:
        key = names.Key(request.match_info["namespace"], request.match_info["name"])
        found = self._frame.cache[names.REGISTRIES].get(*key)
        data_key = material.notify_key(key.name)
        token = await self._tokens.get(key.namespace, names.SECRET_REGISTRY, data_key) if found else ""
        proven = signatures.knows(token or self._nobodys, request.headers)
        if not proven or not token or found is None:
            return words.refused()  # of a stranger's body nothing is read: this one has to be kept
        try:
            pushed = envelopes.pushed(await self._envelopes.whole(request))
        except ValueError as e:
            return words.malformed(str(e))
        return words.answer(200, result="accepted", message=f"{self._bases(found, pushed)} ImageBuilds look at a base")

    def _bases(self, registry: kube.Object, pushed: list[envelopes.Pushed]) -> int:
        """Have those looked at that are built on what was pushed, under each of the Registry's names."""
        seen = view.view(registry)
        hosts = dict.fromkeys(host for host in (seen.push, seen.node, seen.external) if host)
        return sum(self._frame.hints.base(host, one.repository, one.tag) for one in pushed for host in hosts)


def _secret(build: kube.Object | None) -> str:
    """The name of the Secret with the token, empty without a webhook."""
    triggers = ((build or {}).get("spec") or {}).get("triggers") or {}
    return str(((triggers.get("webhook") or {}).get("secretRef") or {}).get("name") or "")


async def _until_next(started: float) -> None:
    """Wait until the next whole number of REFUSAL_SECONDS since `started`: how long the work took is not to be seen."""
    now = asyncio.get_running_loop().time()
    periods = math.floor((now - started) / REFUSAL_SECONDS) + 1
    await asyncio.sleep(started + periods * REFUSAL_SECONDS - now)
