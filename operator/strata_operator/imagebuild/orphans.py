"""Jobs and ConfigMaps of an ImageBuild that is gone, where the cluster's garbage collector has passed over them.

It deletes what an owner leaves when it hears of the owner's end. What it did not hear, because its own watch was broken
then, it does not look for again: such a Job would build on, and stay for good, for nobody gives it a time to live.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from strata_operator import cache, controller, names

log = logging.getLogger(__name__)

#: Name of the index of what was made for an ImageBuild, by the key of that.
MADE_FOR: Final = "made-for"
#: Seconds that the garbage collector has; as a rule it needs less than one.
PATIENCE: Final = 30.0
_KINDS: Final = (names.JOBS, names.CONFIGMAPS)
_owners: Final = controller.owner("", names.IMAGEBUILDS)


def indexes() -> dict[str, cache.Index]:
    """Of the stores of Jobs and of ConfigMaps."""
    return {MADE_FOR: cache.Index(lambda body: [key for _, key in _owners(body)])}


class Orphans:
    """Belongs to one event loop. `clock` gives seconds that only grow."""

    def __init__(self, frame: controller.Frame, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._frame = frame
        self._clock = clock
        self._since: dict[names.Key, float] = {}

    async def sweep(self, key: names.Key, known: str) -> float | None:
        """Delete what was made for former ImageBuilds of this name, once it has been there for PATIENCE seconds.

        `known` is the uid of the one that is there now, "" for none. Returns seconds until the next look. Raises KubeError.
        """
        if not self._left(key, known):
            self._since.pop(key, None)
            return None
        waits = self._since.setdefault(key, self._clock()) + PATIENCE - self._clock()
        if waits > 0:
            return waits
        del self._since[key]
        live = await self._frame.kube.get(names.IMAGEBUILDS, *key)  # the cache may be behind
        for resource, place in self._left(key, cache.uid(live) if live else ""):
            await self._delete(resource, place, key)
        return None

    def _left(self, key: names.Key, uid: str) -> list[tuple[names.Resource, names.Key]]:
        stores = [self._frame.cache[resource] for resource in _KINDS]
        made = [(store, place) for store in stores for place in store.keys(MADE_FOR, key)]
        return [(store.resource, place) for store, place in made if not store.is_owned_by(uid, place)]

    async def _delete(self, resource: names.Resource, place: names.Key, key: names.Key) -> None:
        body = self._frame.cache[resource].get(*place)
        if body is None or body["metadata"].get("deletionTimestamp") or len(body["metadata"]["ownerReferences"]) > 1:
            return  # it goes already, or somebody else owns it, too
        log.info("deleting %s %s: its ImageBuild %s is gone", resource.kind, place.name, key)
        await self._frame.kube.delete(resource, *place, uid=cache.uid(body))
