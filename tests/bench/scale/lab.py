"""The world around the operator: API server, controllers, registry, and thousands of ImageBuilds that have finished."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bench.scale import api, audit, images, objects
from strata_operator import conditions, kube, names
from support import controlplane, operator_process, registry_process

Body = dict[str, Any]
Say = Callable[[str], None]


class Lab:
    """One world; `grow` fills it. Belongs to one event loop."""

    def __init__(
        self, plane: controlplane.ControlPlane, registry: registry_process.RegistryProcess, client: api.Api
    ) -> None:
        self.plane = plane
        self.registry = registry
        self.api = client
        self.images = images.Images(registry)
        self.audit = audit.Audit(plane.audit_log)
        self.finished = 0
        self._probes = 0
        self._statuses: objects.Finished | None = None
        self._stored: dict[tuple[bool, bool], Body] = {}  # as the API server made one of a kind

    def operator(self, **settings: str) -> operator_process.OperatorProcess:
        """One that does not run yet. What is polled and pushed to lies on loopback here."""
        own = {"POD_NAME": "scale", "POLL_ALLOWED_CIDRS": "127.0.0.0/8", "NODE_PROXY": "false"} | settings
        log = self.plane.folder / "operator.log"
        return operator_process.OperatorProcess(self.plane.kubeconfig, log, own)

    async def prepare(self) -> None:
        """Namespaces, the Registry, and a short life of the operator that makes it Ready."""
        for body in [{"metadata": {"name": "strata-system"}}, *objects.namespaces()]:
            await self.api.create(names.NAMESPACES, body)
        await self.api.create(names.REGISTRIES, objects.registry(self.registry.host))
        with self.operator():
            body = await self._ready()
        self._statuses = objects.Finished(body, self.images.digest, self.images.size, now=time.time())

    async def _ready(self) -> Body:
        deadline = time.monotonic() + 60
        while True:
            body: Body = await self.api.ask("GET", names.REGISTRIES.path(*objects.REGISTRY))
            found = conditions.find((body.get("status") or {}).get("conditions"), conditions.READY) or {}
            if found.get("status") == conditions.TRUE:
                return body
            if time.monotonic() > deadline:
                raise AssertionError(f"the Registry does not get Ready: {found}")
            await asyncio.sleep(0.2)

    async def grow(self, count: int) -> None:
        """Have `count` finished ImageBuilds in all.

        One of each kind is made by the API server; the others are stored as that was, under names of their own.
        """
        wanted = range(self.finished, count)
        made = []
        for index in wanted:
            if objects.kind(index) not in self._stored:
                self._stored[objects.kind(index)] = await self._finish(index)
                made.append(index)
        for index in wanted:
            if index not in made:
                await asyncio.to_thread(self.plane.store, *self._item(index))
        self.finished = max(count, self.finished)
        async with asyncio.timeout(600):
            while await self._count() < self.finished:  # noqa: ASYNC110  the condition is the API server's
                await asyncio.sleep(0.5)

    async def _count(self) -> int:
        """As the API server knows them."""
        page = await self.api.ask("GET", f"{names.IMAGEBUILDS.path()}?limit=1")
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)

    async def _finish(self, index: int) -> Body:
        assert self._statuses
        body = objects.build(index)
        self.images.link(str(kube.place(body)))
        await self.api.create(names.IMAGEBUILDS, body)
        status = {"status": self._statuses.status(index, body)}
        return await self.api.patch(names.IMAGEBUILDS, kube.place(body), status, "status")

    def _item(self, index: int) -> tuple[str, bytes]:
        assert self._statuses
        body, like = objects.build(index), self._stored[objects.kind(index)]
        key = kube.place(body)
        self.images.link(str(key))
        kept = {k: v for k, v in like["metadata"].items() if k != "resourceVersion"}
        meta = kept | body["metadata"] | {"uid": str(uuid.uuid4())}
        whole = like | {"metadata": meta, "spec": like["spec"] | body["spec"]}
        whole["status"] = self._statuses.status(index, body)
        return f"/registry/{names.GROUP}/{names.IMAGEBUILDS.plural}/{key}", json.dumps(whole).encode()

    @contextlib.asynccontextmanager
    async def probe(self) -> AsyncIterator[Body]:
        """An ImageBuild that was never built, for as long as somebody waits for its Job."""
        self._probes += 1
        body = await self.api.create(names.IMAGEBUILDS, objects.build(9 + 10 * self._probes, kind="probe"))
        yield body
        await self.api.ask("DELETE", names.IMAGEBUILDS.path(*kube.place(body)))

    async def until_job(self, body: Body, *, seconds: float) -> float:
        """The (monotonic) time at which its Job was there."""
        path = names.JOBS.path(body["metadata"]["namespace"])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            jobs = (await self.api.ask("GET", path))["items"]
            owners = {owner["uid"] for job in jobs for owner in job["metadata"].get("ownerReferences", ())}
            if body["metadata"]["uid"] in owners:
                return time.monotonic()
            await asyncio.sleep(0.2)
        raise AssertionError(f"no Job of {kube.place(body)} after {seconds:.0f} s")

    async def clear(self) -> None:
        """What flowed goes: only the finished ImageBuilds are left, and nothing of ours runs."""
        for space in objects.namespaces():
            name = space["metadata"]["name"]
            query = "?labelSelector=flow%3Dyes&propagationPolicy=Background"
            await self.api.ask("DELETE", names.IMAGEBUILDS.path(name) + query)


@contextlib.asynccontextmanager
async def opened(programs: Path, registry: Path) -> AsyncIterator[Lab]:
    """A lab that is prepared, and is gone afterwards."""
    with (
        controlplane.ControlPlane(programs, audit=audit.POLICY) as plane,
        registry_process.RegistryProcess(registry) as store,
    ):
        async with api.Api(plane) as client:
            made = Lab(plane, store, client)
            await made.prepare()
            yield made
