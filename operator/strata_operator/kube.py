"""Requests to the API server: the only importer of the `kubernetes` client. Objects are plain dicts.

::

    KubeError                 status, reason and message as the API server gave them
     +- Conflict    409       somebody wrote in between: read again and decide again
     +- NotFound    404
     +- Forbidden   403
     +- Invalid     422, 400
     +- Unreachable           429, 5xx or no answer, after the retries of this module
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import tenacity
from kubernetes.aio import client as kube_client
from kubernetes.aio import config as kube_config

from strata_operator import conditions, metrics, names

log = logging.getLogger(__name__)

Object = dict[str, Any]

_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=10)
_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 30.0  # a Retry-After beyond it is left to the queue's back-off
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"


class KubeError(Exception):
    """The API server refused; `str()` is its own message."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Conflict(KubeError):
    pass


class NotFound(KubeError):
    pass


class Forbidden(KubeError):
    pass


class Invalid(KubeError):
    pass


class Unreachable(KubeError):
    pass


_ERRORS: Final[Mapping[int, type[KubeError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


@dataclass(frozen=True, slots=True)
class AlreadyExists:
    """What `create` returns, rather than raises, when the name is taken: often the answer that was hoped for."""

    namespace: str
    name: str


class Kube:
    """A client for any resource. `written` is told of every object that a write brought back."""

    def __init__(
        self,
        api: kube_client.ApiClient,
        counters: metrics.Metrics,
        *,
        written: Callable[[names.Resource, Object], None] = lambda _resource, _body: None,
    ) -> None:
        self._api = api
        self._counters = counters
        self.written = written
        self._seen_events: dict[str, int] = {}

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: names.Resource, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none. Raises KubeError."""
        try:
            return await self._request("get", "GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def pages(
        self, resource: names.Resource, *, namespace: str = "", selector: str = "", fields: str = "", limit: int = 500
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """A list in pages of (items, resourceVersion of the list); `selector` is by labels, `fields` by fields.

        Raises KubeError; also for a continue token that expired (410): the caller begins again.
        """
        query = {"limit": str(limit), "labelSelector": selector, "fieldSelector": fields}
        query = {key: value for key, value in query.items() if value}
        while True:
            answer = await self._request("list", "GET", resource.path(namespace), query=query)
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
            answer = await self._request(
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
        answer = await self._request("apply", "PATCH", path, body=_typed(resource, body), query=query, content=_APPLY)
        return self._wrote(resource, answer)

    async def patch(self, resource: names.Resource, namespace: str, name: str, patch: Object) -> Object:
        """A JSON merge patch. Raises KubeError (NotFound, Conflict if the patch carries a stale resourceVersion)."""
        path = resource.path(namespace, name)
        query = {"fieldManager": names.OPERATOR}
        return self._wrote(
            resource, await self._request("patch", "PATCH", path, body=patch, query=query, content=_MERGE)
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
        answer = await self._request("patch", "PATCH", path, body=body, query=query, content=_MERGE)
        return self._wrote(resource, answer)

    async def delete(
        self, resource: names.Resource, namespace: str, name: str, *, uid: str = "", propagation: str = "Background"
    ) -> bool:
        """Delete the object (only the one with `uid`, if given); False if it was gone. Raises KubeError."""
        body: Object = {"propagationPolicy": propagation} | ({"preconditions": {"uid": uid}} if uid else {})
        try:
            await self._request("delete", "DELETE", resource.path(namespace, name), body=body)
        except NotFound:
            return False
        except Conflict:
            if uid:  # another object has taken the name: ours is gone
                return False
            raise
        return True

    async def event(
        self, regarding: Object, *, reason: str, note: str, action: str = "Reconcile", warning: bool = False
    ) -> None:
        """Tell people, once: the same event again only raises its count. A refusal is logged, never raised."""
        meta = regarding["metadata"]
        name = f"{meta['name'][:200]}.{names.short_hash(meta.get('uid', ''), reason, note, length=16)}"
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

    async def _request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        async for attempt in _retrying():
            with attempt:
                return await self._once(verb, method, path, body=body, query=query, content=content)
        raise AssertionError("unreachable: tenacity re-raises")

    async def _once(
        self, verb: str, method: str, path: str, *, body: Object | None, query: Mapping[str, str] | None, content: str
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content}
        code = "error"
        try:
            _, url, headers, _, _ = await self._api.param_serialize(
                method, path, header_params=headers, auth_settings=["BearerToken"]
            )
            if query:
                url += "?" + urllib.parse.urlencode(query)
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            data = await answer.read()  # type: ignore[no-untyped-call]
            code = str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise Unreachable(0, "NoAnswer", f"no answer from the API server: {type(e).__name__}: {e}"[:500]) from e
        finally:
            self._counters.kube_requests.labels(verb, code).inc()
        if answer.status >= 300:
            raise _error(answer.status, answer.headers, data)
        return _object(data)


def _retrying() -> tenacity.AsyncRetrying:
    """Every request here can be repeated: creates have fixed names, patches carry a resourceVersion or are absolute."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Unreachable),
        wait=_wait,
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        reraise=True,
        sleep=asyncio.sleep,
    )


_backoff: Final = tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, KubeError) else None
    return float(_backoff(state)) if asked is None else min(asked, _LONGEST_WAIT)


def _error(status: int, headers: Mapping[str, str], data: bytes) -> KubeError:
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    known = isinstance(body, dict) and body.get("kind") == "Status"  # anything else may hold what must not be logged
    reason = str(body.get("reason") or "") if known else ""
    message = str(body.get("message") or "")[:2000] if known else f"the API server answered {status}"
    if status in _RETRIED:
        asked = headers.get("Retry-After", "")
        return Unreachable(status, reason, message, retry_after=float(asked) if asked.isdigit() else None)
    return _ERRORS.get(status, KubeError)(status, reason, message)


def _object(data: bytes) -> Object:
    body = json.loads(data)
    if not isinstance(body, dict):
        raise KubeError(200, "NotAnObject", f"the API server answered with a JSON {type(body).__name__}")
    return body


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
        "note": note[:1024],
        "type": "Warning" if warning else "Normal",
        "regarding": {
            "apiVersion": regarding.get("apiVersion"),
            "kind": regarding.get("kind"),
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
        },
    }


async def connect() -> kube_client.ApiClient:
    """A client as the environment says: in a pod its service account, else KUBECONFIG or ~/.kube/config."""
    configuration = kube_client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
        kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        file = os.environ.get("KUBECONFIG") or None  # else the library's own default
        await kube_config.load_kube_config(file, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 100
    api = kube_client.ApiClient(configuration)
    api.user_agent = names.OPERATOR
    return api
