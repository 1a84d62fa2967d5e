"""The few requests to the API server that bringing a cluster up needs."""

import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import errors


@dataclass(frozen=True, slots=True)
class Api:
    """An API server, asked as the administrator."""

    host: str
    tls: ssl.SSLContext

    @classmethod
    def of(cls, node_ip: str, pki: Path) -> "Api":
        """The server of our own node; `pki` is the folder that pki.make() filled."""
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return cls(node_ip, context)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Sends one request and returns status and body.

        Raises:
            OSError: no answer.
        """
        connection = http.client.HTTPSConnection(self.host, 6443, timeout=5, context=self.tls)
        try:
            kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """One object or list; empty where there is none, or no answer."""
        try:
            status, body = self.request("GET", path)
        except OSError:
            return {}
        return dict(json.loads(body)) if status == 200 else {}

    def ready(self) -> bool:
        """Whether the server says that it is ready."""
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def apply(self, prefix: str, plural: str, body: dict[str, Any]) -> None:
        """Server-side apply of a cluster-scoped object.

        Raises:
            errors.ClusterError: it was refused.
        """
        name = urllib.parse.quote(body["metadata"]["name"])
        status, said = self.request("PATCH", f"/apis/{prefix}/{plural}/{name}?fieldManager=cluster&force=true", body)
        if status not in (200, 201):
            raise errors.ClusterError(
                f"the API server refused {body['kind']} {name}: {status} {said.decode(errors='replace')}"
            )
