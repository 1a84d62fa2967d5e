"""The objects of one kind, the newest version of each, and where to find them by what they say.

Ten thousand ImageBuilds as dicts are more than 200 MB; packed (JSON, deflated) they are less than a tenth of it. So a
large store keeps its bodies packed, and what is asked of all of them is answered by indexes, which hold no bodies.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strata_operator import graves, kube, names

Trim = Callable[[kube.Object], kube.Object]

_OWNER: Final = "owner"
_NAMESPACE: Final = "namespace"
_LEVEL: Final = 1  # of deflate: a third of the time of the default for a tenth more bytes


def trim(body: kube.Object) -> kube.Object:
    """`body` without what nobody here reads: managedFields and kubectl's copy of the object."""
    meta = {key: value for key, value in body.get("metadata", {}).items() if key != "managedFields"}
    if names.ANNOTATION_LAST_APPLIED in (meta.get("annotations") or {}):
        kept = {k: v for k, v in meta["annotations"].items() if k != names.ANNOTATION_LAST_APPLIED}
        meta["annotations"] = kept
    return {**body, "metadata": meta}


def version(body: kube.Object) -> int:
    """The resourceVersion as a number; the API server compares them so since 1.35."""
    text = str(body.get("metadata", {}).get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def uid(body: kube.Object) -> str:
    return str(body.get("metadata", {}).get("uid") or "")


class Index:
    """The keys of objects by the values that `of` finds in a body."""

    def __init__(self, of: Callable[[kube.Object], Iterable[Hashable]]) -> None:
        self.of = of
        self._keys: dict[Hashable, set[names.Key]] = {}

    def keys(self, value: Hashable) -> list[names.Key]:
        """Sorted."""
        return sorted(self._keys.get(value, ()))

    def has(self, value: Hashable, key: names.Key) -> bool:
        return key in self._keys.get(value, ())

    def add(self, key: names.Key, value: Hashable) -> None:
        self._keys.setdefault(value, set()).add(key)

    def discard(self, key: names.Key, value: Hashable) -> None:
        found = self._keys.get(value, set())
        found.discard(key)
        if not found:
            self._keys.pop(value, None)


@dataclass(frozen=True, slots=True)
class _Entry:
    """`body` is a dict, or its packed form; `values` are those of each index."""

    uid: str
    version: int
    body: kube.Object | bytes
    values: tuple[tuple[Hashable, ...], ...]


class Store:
    """Bodies are shared: whoever reads them must not change them."""

    def __init__(
        self,
        resource: names.Resource,
        *,
        selector: str = "",
        trim: Trim = trim,
        packed: bool = False,
        indexes: Mapping[str, Index] | None = None,
    ) -> None:
        self.resource = resource
        self.selector = selector
        self.listed_at: float | None = None  # loop time of the last complete list
        self.trim = trim
        self.packed = packed
        self._indexes = {_OWNER: Index(_owners), _NAMESPACE: Index(_namespace), **(indexes or {})}
        self._entries: dict[names.Key, _Entry] = {}
        self._graves = graves.Graves()
        self._listing = 0

    def add_indexes(self, indexes: Mapping[str, Index]) -> None:
        """Before the first object comes. Raises ValueError for a name that is taken."""
        if self._entries or self._indexes.keys() & indexes.keys():
            raise ValueError(f"too late, or twice: indexes {', '.join(indexes)} of {self.resource.plural}")
        self._indexes |= indexes

    def get(self, namespace: str, name: str) -> kube.Object | None:
        entry = self._entries.get(names.Key(namespace, name))
        return None if entry is None else _body(entry)

    def all(self) -> Iterator[kube.Object]:
        """Every object; of a packed store better ask an index."""
        return map(_body, list(self._entries.values()))

    def index(self, name: str) -> Index:
        return self._indexes[name]

    def has(self, index: str, value: Hashable, key: names.Key) -> bool:
        """Whether the object `key` has `value` in an index."""
        return self._indexes[index].has(value, key)

    def keys(self, index: str, value: Hashable) -> list[names.Key]:
        """The keys of the objects that have `value` in an index, sorted."""
        return self._indexes[index].keys(value)

    def having(self, index: str, value: Hashable) -> list[kube.Object]:
        """The objects that have `value` in an index, sorted by namespace and name."""
        return [_body(self._entries[key]) for key in self.keys(index, value)]

    def owned_by(self, owner_uid: str) -> list[kube.Object]:
        """Objects with an ownerReference to `owner_uid`, sorted by name."""
        return self.having(_OWNER, owner_uid)

    def is_owned_by(self, owner_uid: str, key: names.Key) -> bool:
        return self.has(_OWNER, owner_uid, key)

    def in_namespace(self, namespace: str) -> list[kube.Object]:
        return self.having(_NAMESPACE, namespace)

    def keys_of_namespace(self, namespace: str) -> list[names.Key]:
        return self.keys(_NAMESPACE, namespace)

    def slice(self, turn: int, of: int) -> list[kube.Object]:
        """One of `of` parts of all objects, about equal ones: each object is in the part of one of `of` turns."""
        return [_body(entry) for key, entry in self._entries.items() if _lot(key) % of == turn % of]

    def within(self, keys: set[names.Key]) -> bool:
        """Whether `keys` has the keys of all objects."""
        return self._entries.keys() <= keys

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, body: kube.Object) -> kube.Object | None:
        """Take in a version of an object; returns what it replaced, or `body` itself if it is not news."""
        key, known, news = kube.place(body), uid(body), version(body)
        old = self._entries.get(key)
        if old is not None and (old.version >= news if old.uid == known else old.version > news):
            return body  # the same or an older one, or news of a predecessor with the same name
        if self._graves.holds(known, news):
            return body
        kept = self.trim(body)
        values = tuple(tuple(index.of(kept)) for index in self._indexes.values())
        self._entries[key] = _Entry(known, news, _pack(kept) if self.packed else kept, values)
        self._reindex(key, old.values if old else (), values)
        return None if old is None else _body(old)

    def remove(self, body: kube.Object) -> kube.Object | None:
        """Take in a deletion that a watch tells of; returns what was removed."""
        self._graves.bury(uid(body), version(body))
        return self._lose(kube.place(body), uid(body))

    def forget(self, key: names.Key, known: str) -> kube.Object | None:
        """The API server has taken the object with the uid `known` away, whatever is still told of it; returns it."""
        self._graves.bury(known, graves.FOREVER)
        return self._lose(key, known)

    def forgot(self, body: kube.Object) -> bool:
        """Whether `forget` was told of this object."""
        return self._graves.holds(uid(body), graves.FOREVER)

    def begin_list(self) -> None:
        """From here to `end_list` no deletion is forgotten: the list may still hold what is gone."""
        self._listing += 1

    def end_list(self) -> None:
        self._listing -= 1

    def retain(self, present: set[names.Key], list_version: int) -> list[kube.Object]:
        """Drop what a complete list as of `list_version` did not hold; returns it."""
        if self._listing <= 1:  # no other list is still being read
            self._graves.age()
        gone = {
            key: entry
            for key, entry in self._entries.items()
            if key not in present and entry.version <= list_version  # newer: created while the list was read
        }
        for entry in gone.values():
            self._graves.bury(entry.uid, entry.version)
        return [self._drop(key) for key in gone]

    def _lose(self, key: names.Key, known: str) -> kube.Object | None:
        """Drop an object unless another one has taken its name."""
        entry = self._entries.get(key)
        return None if entry is None or entry.uid != known else self._drop(key)

    def _drop(self, key: names.Key) -> kube.Object:
        entry = self._entries.pop(key)
        self._reindex(key, entry.values, ())
        return _body(entry)

    def _reindex(
        self, key: names.Key, old: tuple[tuple[Hashable, ...], ...], new: tuple[tuple[Hashable, ...], ...]
    ) -> None:
        for place, index in enumerate(self._indexes.values()):
            before, after = (values[place] if values else () for values in (old, new))
            if before != after:
                for value in before:
                    index.discard(key, value)
                for value in after:
                    index.add(key, value)


def _lot(key: names.Key) -> int:
    return zlib.crc32(str(key).encode())


def _body(entry: _Entry) -> kube.Object:
    return _unpack(entry.body) if isinstance(entry.body, bytes) else entry.body


def _pack(body: kube.Object) -> bytes:
    return zlib.compress(json.dumps(body, separators=(",", ":"), check_circular=False).encode(), _LEVEL)


def _unpack(packed: bytes) -> kube.Object:
    body: kube.Object = json.loads(zlib.decompress(packed))
    return body


def _owners(body: kube.Object) -> Iterator[Any]:
    return (str(owner["uid"]) for owner in body["metadata"].get("ownerReferences") or ())


def _namespace(body: kube.Object) -> tuple[str]:
    return (kube.place(body).namespace,)
