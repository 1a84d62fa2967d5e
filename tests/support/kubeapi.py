"""What the API server has, read over one connection: a kubectl for every look would cost more than what it looks at."""

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

Body = dict[str, Any]
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class NotRead(Exception):
    """The API server refused; with its status code and message."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """`path` is that of its group and version."""

    path: str
    plural: str
    namespaced: bool


class Reader:
    """Reads through `kubectl proxy`, which knows every way to log in; only this process's user can reach it."""

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
        code, body = self._ask(f"{path}?{urlencode(query)}" if query else path)
        if code == http.HTTPStatus.NOT_FOUND and name:
            return None
        if code != http.HTTPStatus.OK:
            raise NotRead(f"{path}: {code} {body.get('message', body)}")
        return body

    def _resource(self, kind: str) -> _Resource:
        """By plural, singular or short name, or as plural.group; the kinds are read again for one that is new."""
        if kind not in self._resources:
            self._resources = self._discover("/apis") | self._discover("/api")
        try:
            return self._resources[kind]
        except KeyError:
            raise NotRead(f"the API server has no kind {kind}") from None

    def _discover(self, root: str) -> dict[str, _Resource]:
        found: dict[str, _Resource] = {}
        for group in self._ask(root, _DISCOVERY)[1]["items"]:
            name, version = group["metadata"].get("name", ""), group["versions"][0]
            path = "/".join(filter(None, (root, name, version["version"])))
            for one in version.get("resources", ()):
                made = _Resource(path, one["resource"], one["scope"] == "Namespaced")
                names = (one["resource"], one["singularResource"], *one.get("shortNames", ()))
                found |= {f"{one['resource']}.{name}": made} | {n: made for n in names if n not in found}
        return found

    def _ask(self, path: str, accept: str = "application/json") -> tuple[int, Body]:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self._socket))
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()
