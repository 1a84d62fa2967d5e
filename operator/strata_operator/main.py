"""The operator's table of contents: its kinds, its watches, and what runs while it lives."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import kopf

from strata_operator import (
    certificates,
    controller,
    imagebuild,
    kube,
    kubesession,
    leader,
    logs,
    metrics,
    names,
    registry,
    relists,
    settings,
    stopping,
    watchlayer,
    web,
)
from strata_operator.notifications import hub
from strata_operator.webhooks import service

log = logging.getLogger(__name__)

#: Each makes the controllers of one kind.
KINDS: Final[tuple[Callable[[controller.Frame], Sequence[controller.Controller]], ...]] = (
    registry.controllers,
    imagebuild.controllers,
)


async def refresh_all(frame: controller.Frame) -> None:
    """List every kind; retried for ever, kind by kind, for a CRD may come after its operator."""
    await asyncio.gather(*(_refresh(frame, resource) for resource in frame.cache.stores))
    frame.metrics.resyncs.inc()


async def _refresh(frame: controller.Frame, resource: names.Resource) -> None:
    for delay in watchlayer.Backoffs():
        try:
            await frame.cache.refresh(resource, frame.kube)
        except kube.KubeError as e:
            hint = "; is its CustomResourceDefinition installed?" if isinstance(e, kube.NotFound) else ""
            log.warning("cannot list %s: %s%s", resource.plural, e, hint)
            await asyncio.sleep(delay)
        else:
            return


async def _resync(frame: controller.Frame) -> None:
    while True:
        await asyncio.sleep(frame.settings.resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311  jitter
        await refresh_all(frame)
        frame.look_again()


async def _work(frame: controller.Frame, lease: leader.Lease, gaps: relists.Relists) -> None:
    """Know the cluster, and act on it while this process holds the Lease. Raises leader.Lost (in a group)."""
    await refresh_all(frame)
    async with asyncio.TaskGroup() as group:
        group.create_task(_resync(frame))
        group.create_task(gaps.run())
        group.create_task(_lead(frame, lease))


async def _lead(frame: controller.Frame, lease: leader.Lease) -> None:
    try:
        waited = await lease.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(lease.hold())  # lists may take longer than it lasts
            if waited:
                await refresh_all(frame)  # the last writes of who had it before may not have been told yet
            frame.metrics.leader.set(1)
            frame.begin()  # no worker starts before every kind was listed once
            log.info("listed: %s", ", ".join(f"{len(s)} {s.resource.plural}" for s in frame.cache.stores.values()))
            for work in frame.queues.values():
                group.create_task(work.run())
    finally:
        frame.metrics.leader.set(0)
        await lease.release()


@contextlib.asynccontextmanager
async def assembled(
    options: settings.Settings, kinds: Sequence[Callable[[controller.Frame], Sequence[controller.Controller]]] = KINDS
) -> AsyncIterator[controller.Frame]:
    """A frame with all its controllers, connected to the API server and not yet running."""
    counters = metrics.Metrics()
    client = kube.Kube(await kubesession.connect(counters))
    try:
        frame = controller.Frame(options, counters, client)
        for kind in kinds:
            for one in kind(frame):
                frame.add(one)
        try:
            yield frame
        finally:
            frame.close()
            for close in frame.closers:
                await close()
    finally:
        await client.close()


async def run(frame: controller.Frame, *, stop: asyncio.Event | None = None) -> None:
    """Watch and work until `stop` is set or SIGTERM comes. Raises what ended either of them early."""
    stop = stop or asyncio.Event()
    lease = leader.Lease(frame.kube, frame.settings.namespace, leader.identity(frame.settings.pod_name))
    runner = await web.start(frame, frame.settings.listen)
    await frame.notifications.start()
    drain = hub.DRAIN_SECONDS
    try:
        async with service.serving(frame, lease):
            await _operate(frame, lease, stop)
    except leader.Lost:
        drain = 0.0  # who is no longer the one that acts has to be gone at once
        raise
    finally:
        await frame.notifications.close(drain)
        await runner.cleanup()


async def _operate(frame: controller.Frame, lease: leader.Lease, stop: asyncio.Event) -> None:
    gaps = relists.Relists(frame.cache, functools.partial(_refresh, frame))
    work = asyncio.create_task(_work(frame, lease, gaps))
    work.add_done_callback(lambda _task: stop.set())
    handlers = watchlayer.handlers(frame, gaps)

    async def end_work(**_: Any) -> None:
        work.cancel()  # here, for at its own end kopf waits five seconds for tasks that it does not know
        await asyncio.gather(work, return_exceptions=True)

    kopf.on.cleanup(registry=handlers)(end_work)
    try:
        watching = watchlayer.run(handlers, watchlayer.options(frame), stop)
        await stopping.run(watching, stop, lambda: stopping.LIMIT_OF_LOSERS if work.done() else stopping.LIMIT)
    except stopping.Stuck:
        await end_work()
        if not work.cancelled():
            _raise_cause(work)  # says more
        raise
    finally:
        await end_work()
    if not work.cancelled():
        _raise_cause(work)


def _raise_cause(work: asyncio.Task[None]) -> None:
    """What a task of its groups ended with, the first of them if there are several."""
    cause = work.exception()
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if cause is not None:
        raise cause


#: Of Python's collector: new containers between two collections of the youngest, and of these between those of the older.
#: Its own (700, 10, 10) are for programs that make less; here a list of ten thousand objects is parsed and dropped.
_COLLECTIONS: Final = (10_000, 20, 20)


def _collect_seldom() -> None:
    """What was imported stays for good and is looked at no more; rubbish in circles, of which there is little, waits longer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


async def _main(options: settings.Settings) -> None:
    async with assembled(options) as frame:
        _collect_seldom()
        try:
            await run(frame)
        except (leader.Lost, stopping.Stuck) as why:
            log.error("%s: this process ends, and no longer acts", why)
            os._exit(1)  # a thread that is about to write to a registry must not; what is stuck would not let it end


def _check(options: settings.Settings) -> None:
    """What `controller.Frame` would end over, in the words of who set it. Raises SettingsError."""
    try:
        certificates.read(options.ca_bundle_file)
    except (ValueError, OSError) as e:
        raise settings.SettingsError(f"{settings.PREFIX}CA_BUNDLE_FILE: {e}") from e


def main() -> int:
    """Run the operator; returns the exit code."""
    try:
        options = settings.load(os.environ)
        _check(options)
    except settings.SettingsError as e:
        print(f"strata-operator: {e}", file=sys.stderr)
        return 2
    logs.configure(options.log_format, options.log_level)
    asyncio.run(_main(options))
    return 0
