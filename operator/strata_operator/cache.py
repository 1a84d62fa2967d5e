"""What the operator knows of the cluster: one store a kind, fed by watch events, our own lists and our own writes.

Watch events are hints only: after a gap kopf lists again without telling of deletions. So each store is compared with a
list of our own, at start and at every resync. Versions of an object may arrive in any order from the three feeds: the
newest resourceVersion wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from strata_operator import kube, names
from strata_operator.store import Index, Store, Trim, trim, uid, version

__all__ = ["UNSEEN_SECONDS", "Cache", "Index", "Store", "Trim", "trim", "uid", "version", "without_contents"]

log = logging.getLogger(__name__)

#: When to look again at an object whose namespace has not been told of yet: each kind is watched apart, and nothing
#: says which of two events comes first.
UNSEEN_SECONDS: Final = 1.0


def without_contents(body: kube.Object) -> kube.Object:
    """A trimmed ConfigMap whose values are replaced by their digests: they may be large, and only their writer knows
    what to do with them."""
    kept = trim(body)
    for field in ("data", "binaryData"):
        if field in kept:
            kept[field] = {key: names.short_hash(str(value), length=64) for key, value in (kept[field] or {}).items()}
    return kept


#: Called with every version of an object that came or went: old and new ones alike.
Notice = Callable[[names.Resource, kube.Object], None]


class Cache:
    """All stores, and who is to be told of changes."""

    def __init__(self, notice: Notice = lambda _resource, _body: None) -> None:
        self.stores: dict[names.Resource, Store] = {}
        self._notice = notice

    def add(self, store: Store) -> None:
        self.stores[store.resource] = store

    def __getitem__(self, resource: names.Resource) -> Store:
        return self.stores[resource]

    def seen(self, resource: names.Resource, kind: str | None, body: kube.Object) -> None:
        """A watch event of kopf: kind is ADDED, MODIFIED, DELETED or, for the first list, None."""
        store = self.stores[resource]
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        if kind == "DELETED":
            told = store.forgot(body)
            if store.remove(body) is not None or not told:
                self._notice(resource, body)
            return
        self._take(store, body)

    def wrote(self, resource: names.Resource, body: kube.Object) -> None:
        """The answer to a write of our own. Notice is given now: the watch event that follows will be no news."""
        store = self.stores.get(resource)
        if store is not None and _selected(store.selector, body):
            self._take(store, body)

    def deleted(self, resource: names.Resource, key: names.Key, known: str) -> None:
        """A deletion of our own was accepted, of the object with the uid `known`. Notice is given now, as of a write."""
        store = self.stores.get(resource)
        if store is not None and (body := store.forget(key, known)) is not None:
            self._notice(resource, body)

    def _take(self, store: Store, body: kube.Object) -> None:
        old = store.put(body)
        if old is body:
            return
        if old is not None:
            self._notice(store.resource, old)
        self._notice(store.resource, body)

    async def refresh(self, resource: names.Resource, client: kube.Kube) -> None:
        """Compare one store with a list of our own, and give notice of what had changed unnoticed. Raises KubeError."""
        store = self.stores[resource]
        store.begin_list()
        try:
            gone = await self._compare(store, client)
        finally:
            store.end_list()
        store.listed_at = asyncio.get_running_loop().time()
        if gone:
            log.info("%s: %d objects had gone without notice", resource.plural, len(gone))
        for body in gone:
            self._notice(resource, body)

    async def _compare(self, store: Store, client: kube.Kube) -> list[kube.Object]:
        """Page by page, so that no large list is in memory; returns what the list lacks."""
        present: set[names.Key] = set()
        list_version = 0
        async for page, page_version in client.pages(store.resource, selector=store.selector):
            list_version = list_version or int(page_version)
            for item in page:
                present.add(kube.place(item))
                self._take(store, item)
        return store.retain(present, list_version)

    @property
    def complete(self) -> bool:
        """Every kind was listed at least once."""
        return all(store.listed_at is not None for store in self.stores.values())

    def oldest_list(self, now: float) -> float:
        """Seconds since the list of the kind that was listed longest ago; infinite before the first."""
        ages = [
            now - store.listed_at if store.listed_at is not None else float("inf") for store in self.stores.values()
        ]
        return max(ages, default=0.0)


def _selected(selector: str, body: kube.Object) -> bool:
    """Whether `body` has the labels of `selector` (equality terms only: all that this program uses)."""
    labels: dict[str, Any] = body["metadata"].get("labels") or {}
    terms = [term.partition("=") for term in selector.split(",") if term]
    return all(labels.get(key) == value for key, _, value in terms)
