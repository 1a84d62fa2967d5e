"""What is asked of the API server: get, list, create, apply, patch, delete, tell. Objects are plain dicts."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strata_operator import conditions, kubesession, names
from strata_operator.kubesession import Conflict, Forbidden, Invalid, KubeError, NotFound, Object, Unreachable

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Kube",
    "KubeError",
    "NotFound",
    "Object",
    "Unreachable",
    "place",
    "replacement",
]

log = logging.getLogger(__name__)


_LONGEST_NOTE: Final = 1024  # bytes: an event with a longer one is refused
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class AlreadyExists:
    """What `create` returns, rather than raises, when the name is taken: often the answer that was hoped for."""

    namespace: str
    name: str


class Kube:
    """A client for any resource. `written` is told of every object that a write brought back, `deleted` of every one (by
    its uid) that a deletion left nothing of."""

    def __init__(
        self,
        session: kubesession.Session,
        *,
        written: Callable[[names.Resource, Object], None] = lambda _resource, _body: None,
        deleted: Callable[[names.Resource, names.Key, str], None] = lambda _resource, _key, _uid: None,
    ) -> None:
        self._session = session
        self.written = written
        self.deleted = deleted
        self._seen_events: dict[str, int] = {}

    async def close(self) -> None:
        await self._session.close()

    async def get(self, resource: names.Resource, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none. Raises KubeError."""
        try:
            return await self._session.request("get", "GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def pages(
        self, resource: names.Resource, *, namespace: str = "", selector: str = "", fields: str = "", limit: int = 200
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """A list in pages of (items, resourceVersion of the list); `selector` is by labels, `fields` by fields.

        Raises KubeError; also for a continue token that expired (410): the caller begins again.
        """
        query = {"limit": str(limit), "labelSelector": selector, "fieldSelector": fields}
        query = {key: value for key, value in query.items() if value}
        while True:
            answer = await self._session.request("list", "GET", resource.path(namespace), query=query)
            meta = answer.get("metadata") or {}
            yield (
                [_typed(resource, item) for item in answer.get("items") or ()],
                str(meta.get("resourceVersion") or "0"),
            )
            if not meta.get("continue"):
                return
            query = {**query, "continue": meta["continue"]}

    async def create(self, resource: names.Resource, body: Object, *, dry_run: bool = False) -> Object | AlreadyExists:
        """Create `body`; with dry_run only admission and validation run. Raises KubeError."""
        namespace, name = place(body)
        query = {"fieldManager": names.OPERATOR} | ({"dryRun": "All"} if dry_run else {})
        try:
            answer = await self._session.request(
                "create", "POST", resource.path(namespace), body=_typed(resource, body), query=query
            )
        except Conflict as e:
            if e.reason == "AlreadyExists":
                return AlreadyExists(namespace, name)
            raise
        return answer if dry_run else self._wrote(resource, answer)

    async def apply(
        self, resource: names.Resource, body: Object, *, manager: str = names.OPERATOR, force: bool = True
    ) -> Object:
        """Server-side apply: `body` is all that `manager` wants; what it wanted before and no longer names goes.

        With force=False, Conflict says which fields somebody else holds. Raises KubeError.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        path = resource.path(*place(body))
        answer = await self._session.request(
            "apply", "PATCH", path, body=_typed(resource, body), query=query, content=_APPLY
        )
        return self._wrote(resource, answer)

    async def patch(self, resource: names.Resource, namespace: str, name: str, patch: Object) -> Object:
        """A JSON merge patch. Raises KubeError (NotFound, Conflict if the patch carries a stale resourceVersion)."""
        path = resource.path(namespace, name)
        query = {"fieldManager": names.OPERATOR}
        return self._wrote(
            resource, await self._session.request("patch", "PATCH", path, body=patch, query=query, content=_MERGE)
        )

    async def patch_status(self, resource: names.Resource, observed: Object, status: Mapping[str, Any]) -> Object:
        """Make `status` the whole status of `observed`, if nobody wrote to the object since it was read.

        Fields that `observed` has and `status` lacks are removed. Raises Conflict, NotFound, KubeError.
        """
        namespace, name = place(observed)
        change = replacement(observed.get("status") or {}, status)
        if not change:
            return observed
        body = {"metadata": {"resourceVersion": observed["metadata"]["resourceVersion"]}, "status": change}
        path, query = resource.path(namespace, name, "status"), {"fieldManager": f"{names.OPERATOR}-status"}
        try:
            answer = await self._session.request("patch", "PATCH", path, body=body, query=query, content=_MERGE)
        except Conflict as e:
            arrived = await self._arrived(resource, observed, status) if e.repeated else None
            if arrived is None:
                raise
            answer = arrived
        return self._wrote(resource, answer)

    async def _arrived(self, resource: names.Resource, observed: Object, status: Mapping[str, Any]) -> Object | None:
        """The object as the patch made it whose answer was lost: what follows a write must not be left out."""
        found = await self.get(resource, *place(observed))
        same = found is not None and found["metadata"].get("uid") == observed["metadata"].get("uid")
        return found if found and same and not replacement(found.get("status") or {}, status) else None

    async def delete(
        self, resource: names.Resource, namespace: str, name: str, *, uid: str = "", propagation: str = "Background"
    ) -> bool:
        """Delete the object (only the one with `uid`, if given); False if it was gone. Raises KubeError."""
        body: Object = {"propagationPolicy": propagation} | ({"preconditions": {"uid": uid}} if uid else {})
        try:
            answer = await self._session.request("delete", "DELETE", resource.path(namespace, name), body=body)
        except NotFound:
            self._gone(resource, names.Key(namespace, name), uid)
            return False
        except Conflict:
            if uid:  # another object has taken the name: ours is gone
                return False
            raise
        if answer.get("kind") == "Status":
            self._gone(resource, names.Key(namespace, name), uid or str((answer.get("details") or {}).get("uid") or ""))
        else:
            self._wrote(resource, answer)  # finalizers hold it; it says since when
        return True

    def _gone(self, resource: names.Resource, key: names.Key, uid: str) -> None:
        if uid:
            self.deleted(resource, key, uid)

    async def event(
        self, regarding: Object, *, reason: str, note: str, action: str = "Reconcile", warning: bool = False
    ) -> None:
        """Tell people, once: the same event again only raises its count. A refusal is logged, never raised."""
        meta = regarding["metadata"]
        name = f"{meta['name'][:200].rstrip('.-')}.{names.short_hash(meta.get('uid', ''), reason, note, length=16)}"
        try:
            await self._post_event(name, _event(name, regarding, reason, note, action, warning=warning))
        except KubeError as e:
            log.warning("event %s not written: %s", reason, e)

    async def _post_event(self, name: str, body: Object) -> None:
        answer = await self.create(names.EVENTS, body)
        if not isinstance(answer, AlreadyExists):
            return
        if len(self._seen_events) > 10_000:
            self._seen_events.clear()
        self._seen_events[name] = count = self._seen_events.get(name, 1) + 1
        series = {"count": count, "lastObservedTime": body["eventTime"]}
        await self.patch(names.EVENTS, body["metadata"]["namespace"], name, {"series": series})

    def _wrote(self, resource: names.Resource, answer: Object) -> Object:
        self.written(resource, answer)
        return answer


def _typed(resource: names.Resource, body: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def place(body: Mapping[str, Any]) -> names.Key:
    """The key of an object."""
    meta = body["metadata"]
    return names.Key(meta.get("namespace", ""), meta["name"])


def replacement(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The merge patch that turns `old` into `new`; empty if they are equal."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := replacement(before, value):
                patch[key] = inner
        elif value != before or key not in old:
            patch[key] = value
    return patch


def _event(name: str, regarding: Object, reason: str, note: str, action: str, *, warning: bool) -> Object:
    meta = regarding["metadata"]
    now = time.time()
    return {
        "metadata": {"name": name, "namespace": meta.get("namespace") or "default"},
        "eventTime": conditions.rfc3339(now)[:-1] + f".{int(now % 1 * 1e6):06d}Z",
        "reportingController": f"{names.GROUP}/{names.OPERATOR}",
        "reportingInstance": os.environ.get("HOSTNAME", names.OPERATOR)[:128],
        "action": action,
        "reason": reason[:128],
        "note": note.encode("utf-8", "replace")[:_LONGEST_NOTE].decode("utf-8", "ignore"),
        "type": "Warning" if warning else "Normal",
        "regarding": {
            "apiVersion": regarding.get("apiVersion"),
            "kind": regarding.get("kind"),
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
        },
    }
