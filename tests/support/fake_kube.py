"""A Kubernetes API server over a real socket, small but with the parts that operators stumble over.

Lists in pages, watches that end with 410, resourceVersions that conflict, the status subresource, server-side apply
with owners of fields (lists are atomic), deletion with preconditions and collection of owned objects, label and field
selectors, claims that do not shrink, and faults on demand. No schemas, no admission, no controllers.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import decimal
import itertools
import json
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from strata_operator import kube, kubesession, metrics, names, quantities
from support import loops

Body = dict[str, Any]
_ROUTE = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
)
_NAMESPACE_ITSELF = re.compile(r"/api/v1/namespaces(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?")


@dataclass
class Fault:
    """The next `times` requests that match are answered with `status`, and with `page` if one is given; with `after`, they
    are carried out as well."""

    method: str
    path: str  # a regular expression
    status: int
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = "Fault"
    message: str = "injected"
    after: bool = False
    page: bytes | None = None


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


class FakeKube:
    """Resources are those given; objects are what tests `put` and clients write."""

    def __init__(self, *resources: names.Resource) -> None:
        self.resources = {(r.group, r.version, r.plural): r for r in resources}
        self.objects: dict[names.Resource, dict[names.Key, Body]] = {r: {} for r in resources}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.url = ""
        self._versions = itertools.count(1)
        self._version = 0
        self._compacted = 0
        self._history: list[tuple[int, names.Resource, str, Body]] = []
        self._owned: dict[tuple[str, str], set[tuple[str, ...]]] = {}  # (uid, manager) -> field paths
        self._lock = threading.RLock()  # it serves in a thread of its own, so that no task of it is in the tests' loop
        self._continues: dict[str, list[Body]] = {}

    # -- what tests do --

    def put(self, resource: names.Resource, body: Body) -> Body:
        """Create or replace an object, as somebody else would."""
        with self._lock:
            meta = body["metadata"]
            key = names.Key(meta.get("namespace", ""), meta["name"])
            old = self.objects[resource].get(key)
            new = copy.deepcopy(body)
            new.setdefault("apiVersion", resource.api_version)
            new.setdefault("kind", resource.kind)
            self._stamp(new, old)
            self._store(resource, key, new, "MODIFIED" if old else "ADDED")
            return new

    def get(self, resource: names.Resource, namespace: str, name: str) -> Body | None:
        return self.objects[resource].get(names.Key(namespace, name))

    def remove(self, resource: names.Resource, namespace: str, name: str) -> None:
        """Delete an object, and whatever it owns."""
        with self._lock:
            body = self.objects[resource].pop(names.Key(namespace, name))
            self._version = next(self._versions)
            gone = copy.deepcopy(body)
            gone["metadata"]["resourceVersion"] = str(self._version)
            self._tell(resource, "DELETED", gone)
            self._collect(body["metadata"]["uid"])

    def vanish(self, resource: names.Resource, namespace: str, name: str) -> None:
        """Delete an object so that no watch will ever tell: what a gap looks like from the client's side."""
        with self._lock:
            self.objects[resource].pop(names.Key(namespace, name))
            self._version = next(self._versions)
            self.compact()

    def compact(self) -> None:
        """Forget history: every watch ends with 410 and cannot go on from where it was."""
        self._history.clear()
        self._compacted = self._version

    def fail(self, method: str, path: str, status: int, **more: Any) -> None:
        self.faults.append(Fault(method, path, status, **more))

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests so far whose path matches."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    @contextlib.contextmanager
    def serving(self, folder: Path) -> Iterator[Path]:
        """Serve; gives the path of a kubeconfig in `folder`."""
        loop = asyncio.new_event_loop()
        thread = loops.started(loop, "fake-kube")
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result(10)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield _kubeconfig(folder, self.url)
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loops.ended(loop, thread)

    async def _start(self) -> web.AppRunner:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    # -- what the server does --

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        seen = Request(request.method, request.path, dict(request.query), body)
        self.requests.append(seen)
        fault = next((f for f in self.faults if f.method == seen.method and re.search(f.path, seen.path)), None)
        if fault:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            if fault.after:
                self._answer(seen)
            if fault.page is not None:
                return web.Response(body=fault.page, status=fault.status, content_type="text/html")
            return web.json_response(
                _status(fault.status, fault.reason, fault.message), status=fault.status, headers=fault.headers
            )
        if seen.method == "GET" and seen.query.get("watch") == "true":
            return await self._watch(request, seen)
        with self._lock:
            code, answer = self._answer(seen)
        return web.json_response(answer, status=code)

    def _answer(self, request: Request) -> tuple[int, Body]:
        if (found := self._discovery(request.path)) is not None:
            return 200, found
        place = self._place(request.path)
        if place is None:
            return 404, _status(404, "NotFound", f"no such path: {request.path}")
        resource, key, sub = place
        act: dict[str, Callable[[], tuple[int, Body]]] = {
            "GET": lambda: self._get(resource, key) if key.name else self._list(resource, key.namespace, request.query),
            "POST": lambda: self._create(resource, key.namespace, request),
            "PATCH": lambda: self._patch(resource, key, sub, request),
            "DELETE": lambda: self._delete(resource, key, request.body or {}),
        }
        return act[request.method]()

    def _place(self, path: str) -> tuple[names.Resource, names.Key, str] | None:
        match = _NAMESPACE_ITSELF.fullmatch(path)
        if match:
            group, version, plural, namespace = "", "v1", "namespaces", ""
        else:
            match = _ROUTE.fullmatch(path)
            if not match:
                return None
            group, version, plural = match["group"] or "", match["version"], match["plural"]
            namespace = match["namespace"] or ""
        resource = self.resources.get((group, version, plural))
        return (resource, names.Key(namespace, match["name"] or ""), match["sub"] or "") if resource else None

    def _discovery(self, path: str) -> Body | None:
        if path == "/version":
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups: dict[str, set[str]] = {}
            for resource in self.objects:
                if resource.group:
                    groups.setdefault(resource.group, set()).add(resource.version)
            return {"kind": "APIGroupList", "groups": [_group(name, sorted(vs)) for name, vs in sorted(groups.items())]}
        match = re.fullmatch(r"/(?:api|apis/([^/]+))/([^/]+)", path)
        if not match:
            return None
        found = [r for r in self.objects if r.group == (match[1] or "") and r.version == match[2]]
        return {"kind": "APIResourceList", "resources": [_described(r) for r in found]}

    def _get(self, resource: names.Resource, key: names.Key) -> tuple[int, Body]:
        body = self.objects[resource].get(key)
        return (200, copy.deepcopy(body)) if body else _missing(resource, key)

    def _list(self, resource: names.Resource, namespace: str, query: Mapping[str, str]) -> tuple[int, Body]:
        if query.get("continue"):
            items = self._continues.pop(query["continue"], None)
            if items is None:
                return 410, _status(410, "Expired", "the continue token has expired")
        else:
            items = [
                copy.deepcopy(body)
                for key, body in sorted(self.objects[resource].items())
                if (not namespace or key.namespace == namespace) and _selected(body, query)
            ]
        limit = int(query.get("limit") or 0) or len(items) or 1
        page, rest = items[:limit], items[limit:]
        meta = {"resourceVersion": str(self._version)}
        if rest:
            token = uuid.uuid4().hex
            self._continues[token] = rest
            meta["continue"] = token
        return 200, {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": meta,
            "items": page,
        }

    async def _watch(self, request: web.Request, seen: Request) -> web.StreamResponse:
        place = self._place(seen.path)
        assert place, seen.path
        resource, key, _ = place
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        since = int(seen.query.get("resourceVersion") or 0)
        ends = time.monotonic() + float(seen.query.get("timeoutSeconds") or 600)
        while time.monotonic() < ends:
            if since < self._compacted:
                gone = _status(410, "Expired", "too old resource version")
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                break
            with self._lock:
                history, version_now = list(self._history), self._version
            for version, which, kind, body in history:
                if version <= since or which != resource:
                    continue
                if (not key.namespace or body["metadata"].get("namespace") == key.namespace) and _selected(
                    body, seen.query
                ):
                    await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
            since = max(since, version_now)
            await asyncio.sleep(0.02)
        return response

    def _create(self, resource: names.Resource, namespace: str, request: Request) -> tuple[int, Body]:
        body = request.body
        key = names.Key(namespace, body["metadata"]["name"])
        if key in self.objects[resource]:
            return 409, _status(409, "AlreadyExists", f'{resource.plural} "{key.name}" already exists')
        if request.query.get("dryRun"):
            return 201, body
        body["metadata"]["namespace"] = namespace
        self._stamp(body, None)
        self._store(resource, key, body, "ADDED")
        return 201, copy.deepcopy(body)

    def _patch(self, resource: names.Resource, key: names.Key, sub: str, request: Request) -> tuple[int, Body]:
        if "fieldManager" in request.query and "force" in request.query:
            return self._apply(resource, key, request)
        old = self.objects[resource].get(key)
        if old is None:
            return _missing(resource, key)
        expected = (request.body.get("metadata") or {}).get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            return 409, _status(
                409, "Conflict", "the object has been modified; please apply your changes to the latest"
            )
        patch = {"status": request.body.get("status")} if sub == "status" else dict(request.body)
        if sub != "status":
            patch.pop("status", None)
        return 200, self._change(resource, key, old, _merged(old, patch))

    def _apply(self, resource: names.Resource, key: names.Key, request: Request) -> tuple[int, Body]:
        manager, force = request.query["fieldManager"], request.query["force"] == "true"
        wanted = copy.deepcopy(request.body)
        wanted["metadata"] = {k: v for k, v in wanted["metadata"].items() if k not in ("resourceVersion", "uid")}
        old = self.objects[resource].get(key)
        if old is None:
            body = copy.deepcopy(wanted)
            self._stamp(body, None)
            self._owned[body["metadata"]["uid"], manager] = set(_leaves(wanted))
            self._store(resource, key, body, "ADDED")
            return 201, copy.deepcopy(body)
        uid = old["metadata"]["uid"]
        mine, others = self._owned.get((uid, manager), set()), self._others(uid, manager)
        leaves = set(_leaves(wanted))
        clashes = [path for path in leaves & others if _at(old, path) != _at(wanted, path)]
        foreign = [path for path in leaves - mine - others if _at(old, path) not in (None, _at(wanted, path))]
        if (clashes or foreign) and not force:
            return 409, _status(409, "Conflict", f"Apply failed with conflicts: {sorted(clashes + foreign)}")
        new = _merged(old, wanted)
        for path in mine - leaves - others:
            _drop(new, path)
        if resource == names.VOLUME_CLAIMS and _size(new) < _size(old):
            return 422, _status(
                422, "Invalid", "spec.resources.requests.storage: field can not be less than status.capacity"
            )
        self._owned[uid, manager] = leaves
        return 200, self._change(resource, key, old, new)

    def _others(self, uid: str, manager: str) -> set[tuple[str, ...]]:
        return {p for (u, m), paths in self._owned.items() if u == uid and m != manager for p in paths}

    def _delete(self, resource: names.Resource, key: names.Key, options: Body) -> tuple[int, Body]:
        body = self.objects[resource].get(key)
        if body is None:
            return _missing(resource, key)
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != body["metadata"]["uid"]:
            return 409, _status(409, "Conflict", "the UID in the precondition does not match")
        if body["metadata"].get("finalizers"):
            marked = copy.deepcopy(body)
            marked["metadata"].setdefault("deletionTimestamp", _now())
            return 200, self._change(resource, key, body, marked)
        self.remove(resource, *key)
        details = {"name": key.name, "kind": resource.plural, "uid": body["metadata"]["uid"]}
        return 200, _status(200, "", "deleted") | {"details": details}

    def _change(self, resource: names.Resource, key: names.Key, old: Body, new: Body) -> Body:
        if new != old:
            self._stamp(new, old)
            self._store(resource, key, new, "MODIFIED")
        return copy.deepcopy(new)

    def _stamp(self, new: Body, old: Body | None) -> None:
        meta = new["metadata"]
        self._version = next(self._versions)
        meta["resourceVersion"] = str(self._version)
        before = (old or {}).get("metadata", {})
        meta["uid"] = before.get("uid") or meta.get("uid") or str(uuid.uuid4())
        meta.setdefault("creationTimestamp", before.get("creationTimestamp") or _now())
        changed = old is None or old.get("spec") != new.get("spec")
        meta["generation"] = before.get("generation", 0) + 1 if changed else before["generation"]

    def _store(self, resource: names.Resource, key: names.Key, body: Body, kind: str) -> None:
        self.objects[resource][key] = body
        self._tell(resource, kind, copy.deepcopy(body))

    def _tell(self, resource: names.Resource, kind: str, body: Body) -> None:
        self._history.append((self._version, resource, kind, body))

    def _collect(self, uid: str) -> None:
        for resource, objects in self.objects.items():
            for key, body in list(objects.items()):
                if any(o["uid"] == uid for o in body["metadata"].get("ownerReferences") or ()):
                    self.remove(resource, *key)


def _selected(body: Body, query: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels") or {}
    terms = [t.partition("=") for t in query.get("labelSelector", "").split(",") if t]
    fields = [t.partition("=") for t in query.get("fieldSelector", "").split(",") if t]
    return all(labels.get(k) == v for k, _, v in terms) and all(
        str(_at(body, tuple(k.split("."))) or "") == v for k, _, v in fields
    )


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    base = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = _merged(base.get(key), value)
    return copy.deepcopy(base)


def _leaves(body: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of what an apply says, without the object's identity."""
    for key, value in body.items():
        here = (*path, key)
        if here in (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")):
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, here)
        else:
            yield here


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(body, dict):
            return None
        body = body.get(key)
    return body


def _size(claim: Body) -> decimal.Decimal:
    return quantities.amount(str(_at(claim, ("spec", "resources", "requests", "storage"))))


def _drop(body: Any, path: tuple[str, ...]) -> None:
    parent = _at(body, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _missing(resource: names.Resource, key: names.Key) -> tuple[int, Body]:
    return 404, _status(404, "NotFound", f'{resource.plural} "{key.name}" not found')


def _status(code: int, reason: str, message: str) -> Body:
    kind = "Success" if code < 300 else "Failure"
    return {"kind": "Status", "apiVersion": "v1", "status": kind, "code": code, "reason": reason, "message": message}


def _group(name: str, versions: list[str]) -> Body:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _described(resource: names.Resource) -> Body:
    return {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "kind": resource.kind,
        "namespaced": resource.namespaced,
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": {"server": url}}],
                "users": [{"name": "fake", "user": {"token": "fake"}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "current-context": "fake",
            }
        )
    )
    return path


@contextlib.asynccontextmanager
async def asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *resources: names.Resource
) -> AsyncIterator[tuple[FakeKube, kube.Kube]]:
    """A server with these resources, and a client of the operator's to it."""
    fake = FakeKube(*resources)
    with fake.serving(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        client = kube.Kube(await kubesession.connect(metrics.Metrics()))
        try:
            yield fake, client
        finally:
            await client.close()
