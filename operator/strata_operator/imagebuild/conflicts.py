"""Who waits for a tag that another ImageBuild writes, and is to look again when that one lets it go. No I/O.

Under GitOps a rename is such a moment: the new object comes before the old one is pruned. The resync would find out
too, minutes later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata_operator import cache, controller, kube, names

REASON: Final = "DestinationConflict"


def wakes(frame: controller.Frame) -> controller.Wakes:
    """Wakes the ImageBuilds in conflict when another one goes, or has another spec or other tags than before."""
    losers: set[names.Key] = set()

    def freed(body: kube.Object) -> Iterator[tuple[str, names.Key]]:
        key = kube.place(body)
        now = frame.cache[names.IMAGEBUILDS].get(*key)
        (losers.add if now is not None and _lost(now) else losers.discard)(key)
        if now is None or _claims(now) != _claims(body):
            yield from (("imagebuild", loser) for loser in sorted(losers - {key}))

    return freed


def _lost(body: kube.Object) -> bool:
    return ((body.get("status") or {}).get("current") or {}).get("result") == REASON


def _claims(body: kube.Object) -> tuple[object, ...]:
    """Changes with the spec, when the object is told to go, and when the tags have moved that it had written."""
    return cache.uid(body), body["metadata"].get("generation"), (body.get("status") or {}).get("tags")
