"""/metrics, /healthz and /readyz. Health is told from the work that is done, not from the loop that turns."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from aiohttp import web

from strata_operator import controller

_LATE_LISTS = 2.5  # resyncs missed before the view of the cluster counts as stale


def unhealthy(frame: controller.Frame) -> str:
    """Why the process should be restarted; empty if it should not."""
    for work in frame.queues.values():
        key, seconds = work.longest_busy()
        if seconds > frame.settings.stuck_seconds:
            return f"{work.kind} {key} has been worked on for {seconds:.0f} s"
    return ""


def unready(frame: controller.Frame) -> str:
    """Why what this process knows of the cluster cannot be relied on; empty if it can."""
    missing = sorted(store.resource.plural for store in frame.cache.stores.values() if store.listed_at is None)
    if missing:
        return f"not listed yet: {', '.join(missing)}"
    age = frame.cache.oldest_list(asyncio.get_running_loop().time())
    if age > _LATE_LISTS * frame.settings.resync_seconds:
        return f"the last complete list is {age:.0f} s old"
    return unhealthy(frame)


def application(frame: controller.Frame) -> web.Application:
    """The three pages."""
    app = web.Application()
    app.router.add_get("/metrics", functools.partial(_metrics, frame))
    app.router.add_get("/healthz", functools.partial(_verdict, frame, unhealthy))
    app.router.add_get("/readyz", functools.partial(_verdict, frame, unready))
    return app


async def _metrics(frame: controller.Frame, _request: web.Request) -> web.Response:
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=frame.metrics.render(), headers=headers)


async def _verdict(
    frame: controller.Frame, judge: Callable[[controller.Frame], str], _request: web.Request
) -> web.Response:
    problem = judge(frame)
    return web.Response(text=(problem or "ok") + "\n", status=503 if problem else 200)


async def start(frame: controller.Frame, listen: str) -> web.AppRunner:
    """Serve on `listen` (host:port) until the runner is cleaned up. Raises OSError if the port is taken."""
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(application(frame), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    return runner
