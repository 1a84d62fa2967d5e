"""What the operator knows of the cluster: one store a kind, fed by watch events, our own lists and our own writes.

Watch events are hints only: after a gap kopf lists again without telling of deletions. So each store is replaced whole
by a list of our own, at start and at every resync. Versions of an object may arrive in any order from the three feeds:
the newest resourceVersion wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from strata_operator import kube, names

log = logging.getLogger(__name__)

#: When to look again at an object whose namespace has not been told of yet: each kind is watched apart, and nothing
#: says which of two events comes first.
UNSEEN_SECONDS: Final = 1.0

Trim = Callable[[kube.Object], kube.Object]


def trim(body: kube.Object) -> kube.Object:
    """`body` without what nobody here reads: managedFields and kubectl's copy of the object."""
    meta = {key: value for key, value in body.get("metadata", {}).items() if key != "managedFields"}
    if names.ANNOTATION_LAST_APPLIED in (meta.get("annotations") or {}):
        kept = {k: v for k, v in meta["annotations"].items() if k != names.ANNOTATION_LAST_APPLIED}
        meta["annotations"] = kept
    return {**body, "metadata": meta}


def without_contents(body: kube.Object) -> kube.Object:
    """A trimmed ConfigMap whose values are replaced by their digests: they may be large, and only their writer knows
    what to do with them."""
    kept = trim(body)
    for field in ("data", "binaryData"):
        if field in kept:
            kept[field] = {key: names.short_hash(str(value), length=64) for key, value in (kept[field] or {}).items()}
    return kept


def version(body: kube.Object) -> int:
    """The resourceVersion as a number; the API server compares them so since 1.35."""
    text = str(body.get("metadata", {}).get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def uid(body: kube.Object) -> str:
    return str(body.get("metadata", {}).get("uid") or "")


class Store:
    """The objects of one kind. Bodies are shared: whoever reads them must not change them."""

    def __init__(self, resource: names.Resource, *, selector: str = "", trim: Trim = trim) -> None:
        self.resource = resource
        self.selector = selector
        self.listed_at: float | None = None  # loop time of the last complete list
        self.trim = trim
        self._objects: dict[names.Key, kube.Object] = {}
        self._by_owner: dict[str, set[names.Key]] = {}
        self._by_namespace: dict[str, set[names.Key]] = {}
        self._buried: dict[str, int] = {}  # uid -> version of objects deleted since the running list began
        self._listing = 0

    def get(self, namespace: str, name: str) -> kube.Object | None:
        return self._objects.get(names.Key(namespace, name))

    def all(self) -> Iterator[kube.Object]:
        return iter(list(self._objects.values()))

    def owned_by(self, owner_uid: str) -> list[kube.Object]:
        """Objects with an ownerReference to `owner_uid`, sorted by name."""
        return [self._objects[key] for key in sorted(self._by_owner.get(owner_uid, ()))]

    def in_namespace(self, namespace: str) -> list[kube.Object]:
        return [self._objects[key] for key in sorted(self._by_namespace.get(namespace, ()))]

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, body: kube.Object) -> kube.Object | None:
        """Take in a version of an object; returns what it replaced, or `body` itself if it is not news."""
        key = kube.place(body)
        old = self._objects.get(key)
        if old is not None and uid(old) == uid(body) and version(old) >= version(body):
            return body
        if old is not None and uid(old) != uid(body) and version(old) > version(body):
            return body  # news of a predecessor with the same name
        if self._buried.get(uid(body), -1) >= version(body):
            return body
        if old is not None:
            self._unindex(key, old)
        self._objects[key] = trimmed = self.trim(body)
        self._index(key, trimmed)
        return old

    def remove(self, body: kube.Object) -> kube.Object | None:
        """Take in a deletion; returns what was removed."""
        key = kube.place(body)
        if self._listing:
            self._buried[uid(body)] = version(body)
        old = self._objects.get(key)
        if old is None or uid(old) != uid(body):
            return None
        del self._objects[key]
        self._unindex(key, old)
        return old

    def begin_list(self) -> None:
        """From here to `replace`, deletions are remembered: the list may still hold what is gone."""
        self._listing += 1

    def abandon_list(self) -> None:
        self._listing -= 1
        if not self._listing:  # another list may still be read
            self._buried.clear()

    def replace(self, items: Iterable[kube.Object], list_version: int) -> list[kube.Object]:
        """Become `items`, a complete list as of `list_version`; returns the objects that vanished unnoticed."""
        present = set()
        for item in items:
            present.add(kube.place(item))
            self.put(item)
        gone = [
            body
            for key, body in self._objects.items()
            if key not in present and version(body) <= list_version  # newer: created while the list was read
        ]
        for body in gone:
            self.remove(body)
        self.abandon_list()
        return gone

    def _index(self, key: names.Key, body: kube.Object) -> None:
        self._by_namespace.setdefault(key.namespace, set()).add(key)
        for owner in _owners(body):
            self._by_owner.setdefault(owner, set()).add(key)

    def _unindex(self, key: names.Key, body: kube.Object) -> None:
        _discard(self._by_namespace, key.namespace, key)
        for owner in _owners(body):
            _discard(self._by_owner, owner, key)


def _owners(body: kube.Object) -> list[str]:
    return [str(owner["uid"]) for owner in body["metadata"].get("ownerReferences") or ()]


def _discard(index: dict[str, set[names.Key]], value: str, key: names.Key) -> None:
    keys = index.get(value, set())
    keys.discard(key)
    if not keys:
        index.pop(value, None)


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
            store.remove(body)
            self._notice(resource, body)
            return
        self._take(store, body)

    def wrote(self, resource: names.Resource, body: kube.Object) -> None:
        """The answer to a write of our own. Notice is given now: the watch event that follows will be no news."""
        store = self.stores.get(resource)
        if store is not None and _selected(store.selector, body):
            self._take(store, body)

    def _take(self, store: Store, body: kube.Object) -> None:
        old = store.put(body)
        if old is body:
            return
        if old is not None:
            self._notice(store.resource, old)
        self._notice(store.resource, body)

    async def refresh(self, resource: names.Resource, client: kube.Kube) -> None:
        """Replace one store by a list of our own and give notice of all in it: the resync. Raises KubeError."""
        store = self.stores[resource]
        store.begin_list()
        items: list[kube.Object] = []
        list_version = 0
        try:
            async for page, page_version in client.pages(resource, selector=store.selector):
                items += [store.trim(item) for item in page]  # now, so that no large list is in memory untrimmed
                list_version = list_version or int(page_version)
        except BaseException:
            store.abandon_list()
            raise
        gone = store.replace(items, list_version)
        store.listed_at = asyncio.get_running_loop().time()
        if gone:
            log.info("%s: %d objects had gone without notice", resource.plural, len(gone))
        for body in [*gone, *store.all()]:
            self._notice(resource, body)

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
