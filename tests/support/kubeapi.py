"""What the API server has, read and applied without a kubectl each time, which would cost more than what it does."""

from __future__ import annotations

import atexit
import http.client
import json
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from support import applying

Body = dict[str, Any]
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Refused(Exception):
    """The API server refused; with its status code and message."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """`path` is that of its group and version."""

    path: str
    plural: str
    namespaced: bool


class Client:
    """Goes through `kubectl proxy`, which knows every way to log in; only this process's user can reach it."""

    def __init__(self, kubectl: Sequence[str]) -> None:
        folder = tempfile.TemporaryDirectory(prefix="strata-kubeapi-")
        self._socket = Path(folder.name) / "socket"
        argv = ["setpriv", "--pdeathsig", "TERM", *kubectl, "proxy", f"--unix-socket={self._socket}"]
        self._proxy = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._proxy.stdout is not None
        said = self._proxy.stdout.readline()
        assert "Starting to serve" in said, said + self._proxy.stdout.read()
        self._resources: dict[str, _Resource] = {}
        self._folder = folder
        atexit.register(self.close)

    def close(self) -> None:
        self._proxy.terminate()
        self._proxy.communicate()
        self._folder.cleanup()

    def get(self, kind: str, name: str = "", *, namespace: str = "", **query: str) -> Body | None:
        """An object, None if there is none; a list without `name`, of all namespaces without `namespace`."""
        found = self._resource(kind)
        place = f"namespaces/{namespace}/" if found.namespaced and namespace else ""
        path = "/".join(filter(None, (found.path, f"{place}{found.plural}", name)))
        code, body = self._ask("GET", f"{path}?{urlencode(query)}" if query else path)
        if code == http.HTTPStatus.NOT_FOUND and name:
            return None
        if code != http.HTTPStatus.OK:
            raise Refused(f"{path}: {code} {body.get('message', body)}")
        return body

    def apply(self, body: Body, *, namespace: str) -> None:
        """As `kubectl apply` does: applying.patch. An object that names no namespace comes into this one.

        Raises Refused, also where the API does not know a field.
        """
        wanted = applying.noted(body)
        kind, meta = self._resource(body["kind"].lower()), body["metadata"]
        root = "/apis" if "/" in body["apiVersion"] else "/api"
        place = f"namespaces/{meta.get('namespace', namespace)}/" if kind.namespaced else ""
        path = f"{root}/{body['apiVersion']}/{place}{kind.plural}"
        code, current = self._ask("GET", f"{path}/{meta['name']}")
        if code == http.HTTPStatus.NOT_FOUND:
            self._write("POST", path, wanted)
        elif code != http.HTTPStatus.OK:
            raise Refused(f"{path}: {code} {current.get('message', current)}")
        elif changes := applying.patch(current, wanted):
            self._write("PATCH", f"{path}/{meta['name']}", changes)

    def _write(self, method: str, path: str, body: Body) -> None:
        query = urlencode({"fieldManager": applying.MANAGER, "fieldValidation": "Strict"})
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        code, said = self._ask(method, f"{path}?{query}", json.dumps(body), content=content)
        if code >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(f"{method} {path}: {code} {said.get('message', said)}")

    def _resource(self, kind: str) -> _Resource:
        """By plural, singular or short name, or as plural.group; the kinds are read again for one that is new."""
        if kind not in self._resources:
            self._resources = self._discover("/apis") | self._discover("/api")
        try:
            return self._resources[kind]
        except KeyError:
            raise Refused(f"the API server has no kind {kind}") from None

    def _discover(self, root: str) -> dict[str, _Resource]:
        found: dict[str, _Resource] = {}
        for group in self._ask("GET", root, accept=_DISCOVERY)[1]["items"]:
            name, version = group["metadata"].get("name", ""), group["versions"][0]
            path = "/".join(filter(None, (root, name, version["version"])))
            for one in version.get("resources", ()):
                made = _Resource(path, one["resource"], one["scope"] == "Namespaced")
                names = (one["resource"], one["singularResource"], *one.get("shortNames", ()))
                found |= {f"{one['resource']}.{name}": made} | {n: made for n in names if n not in found}
        return found

    def _ask(
        self, method: str, path: str, data: str | None = None, *, accept: str = "application/json", content: str = ""
    ) -> tuple[int, Body]:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self._socket))
            connection.request(method, path, data, {"Accept": accept} | ({"Content-Type": content} if content else {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()
