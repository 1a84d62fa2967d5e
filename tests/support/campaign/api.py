"""Requests to the API server as the administrator, sent again while it does not answer: it is killed on purpose."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any, Final

import cluster
from cluster import api

Body = dict[str, Any]
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Api:
    """The API server of our own node, whatever happens to it."""

    server: api.Api
    namespace: str

    @classmethod
    def of(cls, where: cluster.Cluster, namespace: str) -> Api:
        assert where.node_ip
        assert where.state
        return cls(api.Api.of(where.node_ip, where.state / "pki"), namespace)

    def place(self, plural: str, name: str = "") -> str:
        group = {"pods": "api/v1", "configmaps": "api/v1", "jobs": "apis/batch/v1"}.get(plural, _STRATA)
        return f"/{group}/namespaces/{self.namespace}/{plural}{f'/{name}' if name else ''}"

    def list(self, plural: str, query: str = "") -> list[Body]:
        code, body = self.ask("GET", self.place(plural) + query)
        assert code == http.HTTPStatus.OK, body
        items: list[Body] = body["items"]
        return items

    def get(self, plural: str, name: str) -> Body | None:
        code, body = self.ask("GET", self.place(plural, name))
        return body if code == http.HTTPStatus.OK else None

    def apply(self, plural: str, body: Body) -> Body:
        """Server-side apply."""
        path = f"{self.place(plural, body['metadata']['name'])}?fieldManager=campaign&force=true"
        code, answer = self.ask("PATCH", path, body, APPLY)
        assert code in (http.HTTPStatus.OK, http.HTTPStatus.CREATED), answer
        return answer

    def delete(self, plural: str, name: str) -> None:
        """In the background; it may be gone."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self.ask("DELETE", self.place(plural, name), options)

    def touch(self, path: str) -> None:
        """Change an annotation of the object of `path`, as anybody might at any moment; nothing if nobody answers."""
        patch = {"metadata": {"annotations": {"example.com/touched": f"{time.time():.6f}"}}}
        self._once("PATCH", path.removesuffix("/status"), patch, MERGE)

    def ask(self, method: str, path: str, body: Body | None = None, content: str = "") -> tuple[int, Body]:
        """Status and body of the first answer that is none of a server in trouble."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            code, answer = self._once(method, path, body, content)
            if 0 < code < http.HTTPStatus.INTERNAL_SERVER_ERROR and code != http.HTTPStatus.TOO_MANY_REQUESTS:
                return code, answer
            assert time.monotonic() < deadline, f"{method} {path}: {code} {answer}"
            time.sleep(0.3)

    def _once(self, method: str, path: str, body: Body | None, content: str) -> tuple[int, Body]:
        connection = http.client.HTTPSConnection(self.server.host, 6443, timeout=20, context=self.server.tls)
        try:
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, text, {"Content-Type": content or "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            return 0, {"message": repr(e)}
        finally:
            connection.close()


_STRATA: Final = "apis/strata.build/v1alpha1"
