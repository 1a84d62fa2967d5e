"""kopf as what it is here, the watch layer alone: how it connects, what it lists and watches, and where that goes.

Its handlers put what they saw into the cache, which puts keys on the queues, and return None.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from strata_operator import controller, names, relists, stateless, stopping, watches


class Backoffs:
    """Delays in seconds for kopf's retries, without end and iterable again: an API outage must not end the process."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311  jitter
            delay = min(delay * 2, 30.0)


def options(frame: controller.Frame) -> kopf.OperatorSettings:
    """kopf's own settings: streams filtered by the server, no peering, no posting, no giving up."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.posting.loggers = False
    found.persistence.diffbase_storage = stateless.NoEssence()
    found.persistence.progress_storage = stateless.NoProgress()
    found.peering.standalone = True
    found.networking.connect_timeout = 10
    found.networking.request_timeout = 60
    found.networking.error_backoffs = Backoffs()
    found.watching.server_timeout = 600
    # kopf holds the body of each object of its list until that object's task has ended, which idles first: pages of 500
    # and the default of 5 s are some hundred megabytes with 10,000 ImageBuilds.
    found.watching.chunk_size = 100
    found.queueing.idle_timeout = 0.2
    for store in frame.cache.stores.values():
        if store.selector:
            found.watching.label_selectors[store.resource.group, store.resource.version, store.resource.plural] = (
                store.selector
            )
    return found


async def run(registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, stop: asyncio.Event) -> None:
    """`kopf.operator` until `stop` is set, which SIGTERM and SIGINT do: kopf's own handlers of these end its tasks without a
    limit. It sets them when its tasks have begun, so ours come after that and before anything is waited for."""
    others = frozenset(asyncio.all_tasks())
    tasks = await kopf.spawn_tasks(
        registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
    )
    stopping.heed_signals(stop)
    await kopf.run_tasks(tasks, ignored=others)


def handlers(frame: controller.Frame, gaps: relists.Relists) -> kopf.OperatorRegistry:
    """One handler a resource; login by service account or kubeconfig."""
    found = kopf.OperatorRegistry()
    kopf.on.login(registry=found, id="login")(functools.partial(login, watches.Understanding()))
    for resource in frame.cache.stores:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=found, id=f"see-{resource.plural}")(
            _seen(frame, resource, gaps)
        )
    return found


def _seen(frame: controller.Frame, resource: names.Resource, gaps: relists.Relists) -> Callable[..., Any]:
    async def seen(event: Any, **_: Any) -> None:
        body = dict(event["object"])
        if event["type"] is None:
            gaps.told(resource, body)
        frame.cache.seen(resource, event["type"], body)

    return seen


async def login(understanding: watches.Understanding, **arguments: Any) -> kopf.AiohttpSession | None:
    """As `kubesession.connect`: in a pod its service account, else KUBECONFIG."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
        info = kopf.login_with_service_account(**arguments)
    else:
        info = kopf.login_with_kubeconfig(**arguments)
    return watches.session(info, understanding) if info else None
