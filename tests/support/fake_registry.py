"""A registry over real sockets that misbehaves on demand.

It follows the distribution specification strictly where clients go wrong: a stale or altered upload Location is 404, a
manifest's Content-Type must equal its mediaType, a manifest that names an unknown blob is refused, a manifest needs its
Accept. Faults are queued for a method and a pattern of the path, and each is used up by one request::

    with FakeRegistry() as fake:
        fake.fault("PUT", "/blobs/uploads/", Answer(503, headers={"Retry-After": "1"}), CloseAfter(1000))
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Answer:
    """Answers with this; `read` says whether the request's body is read before."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    read: bool = True


@dataclass(frozen=True)
class CloseAfter:
    """Reads that many bytes of the request's body, then resets the connection."""

    count: int = 0


@dataclass(frozen=True)
class Truncate:
    """Answers as usual, but closes after that many bytes of the body."""

    count: int


@dataclass(frozen=True)
class Corrupt:
    """Answers as usual, but with the first byte of the body flipped."""


@dataclass(frozen=True)
class Lose:
    """Does what is asked, but closes without an answer."""


Fault = Answer | CloseAfter | Truncate | Corrupt | Lose


@dataclass(frozen=True)
class Seen:
    """One request as it came in; `sent` is how many bytes of its body were read."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    sent: int


class FakeRegistry:
    """`host` is 127.0.0.1:port. What is stored lies open: `blobs[repository][digest]`, `manifests[repository][tag or
    digest]`."""

    def __init__(
        self, *, users: Mapping[str, str] | None = None, authorise: Callable[[Seen], Answer | None] | None = None
    ) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.seen: list[Seen] = []
        self.uploads: dict[str, str] = {}
        self.users = users
        self.authorise = authorise
        self.location: Callable[[str, str], str] = lambda host, path: path
        self.ranges = True
        self.mounts = True
        self.referrers = False
        self.digest_header = True
        self.immutable_tags = False
        self.page_size = 1000
        self.challenge = 'Basic realm="fake"'
        self._faults: list[tuple[str, re.Pattern[str], list[Fault]]] = []
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def fault(self, method: str, pattern: str, *faults: Fault) -> None:
        with self._lock:
            self._faults.append((method, re.compile(pattern), list(faults)))

    def add_blob(self, repository: str, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs.setdefault(repository, {})[digest] = data
        return digest

    def add_manifest(self, repository: str, data: bytes, media_type: str, *tags: str) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        for name in (digest, *tags):
            self.manifests.setdefault(repository, {})[name] = (data, media_type)
        return digest

    def requests(self, method: str, pattern: str = "") -> list[Seen]:
        """Those seen so far of `method` ("" = any) whose path matches."""
        with self._lock:
            return [s for s in self.seen if method in ("", s.method) and re.search(pattern, s.path)]

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for wanted, pattern, queue in self._faults:
                if wanted == method and pattern.search(path) and queue:
                    return queue.pop(0)
        return None

    def unused_faults(self) -> int:
        return sum(len(queue) for _, _, queue in self._faults)

    def record(self, seen: Seen) -> None:
        with self._lock:
            self.seen.append(seen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeRegistry

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""


class _Hangup(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        self.fake = self.server.fake
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        self.left = int(self.headers.get("Content-Length") or 0)
        self.fault = self.fake.take_fault(self.command, self.path)
        try:
            self._respond()
        except _Hangup:
            self.close_connection = True
            if not isinstance(self.fault, Truncate):  # a reset would also take back what was sent
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _respond(self) -> None:
        if isinstance(self.fault, CloseAfter):
            self._record(len(self._read(self.fault.count)))
            raise _Hangup
        if isinstance(self.fault, Answer) and not self.fault.read:
            self._record(0)
            self.close_connection = True
            self._answer(self.fault)
            self.connection.shutdown(socket.SHUT_WR)
            return
        body = self._read(self.left)
        seen = self._record(len(body))
        if isinstance(self.fault, Answer):
            self._answer(self.fault)
            return
        answer = self._refuse(seen) or self._route(body)
        if isinstance(self.fault, Lose):
            raise _Hangup
        self._answer(answer)

    def _read(self, count: int) -> bytes:
        data = self.rfile.read(min(count, self.left))
        self.left -= len(data)
        return data

    def _record(self, sent: int) -> Seen:
        seen = Seen(self.command, self.path, self.query, {k.lower(): v for k, v in self.headers.items()}, sent)
        self.fake.record(seen)
        return seen

    def _refuse(self, seen: Seen) -> Answer | None:
        if self.fake.authorise is not None:
            return self.fake.authorise(seen)
        if self.fake.users is None:
            return None
        given = self.headers.get("Authorization", "")
        good = {"Basic " + base64.b64encode(f"{u}:{p}".encode()).decode() for u, p in self.fake.users.items()}
        return None if given in good else _error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": self.fake.challenge})

    def _route(self, body: bytes) -> Answer:
        routes = (
            (r"/v2/", self._ping),
            (r"/v2/(.+)/blobs/uploads/", self._start),
            (r"/v2/(.+)/blobs/uploads/([0-9a-f-]+)", self._finish),
            (r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", self._blob),
            (r"/v2/(.+)/manifests/([^/]+)", self._manifest),
            (r"/v2/(.+)/tags/list", self._tags),
            (r"/v2/(.+)/referrers/(sha256:[0-9a-f]{64})", self._referrers),
        )
        for pattern, handle in routes:
            if match := re.fullmatch(pattern, self.route):
                return handle(body, *match.groups())
        return Answer(404, b"404 page not found\n")

    def _ping(self, _: bytes) -> Answer:
        return Answer(200, b"{}")

    def _start(self, _: bytes, repository: str) -> Answer:
        digest, source = self.query.get("mount", [""])[0], self.query.get("from", [""])[0]
        if digest and self.fake.mounts and digest in self.fake.blobs.get(source, {}):
            self.fake.blobs.setdefault(repository, {})[digest] = self.fake.blobs[source][digest]
            return Answer(201, headers={"Location": f"/v2/{repository}/blobs/{digest}"})
        session = str(uuid.uuid4())
        state = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().replace("=", "%3D")
        self.fake.uploads[session] = f"_state={state}"
        path = f"/v2/{repository}/blobs/uploads/{session}?_state={state}"
        return Answer(202, headers={"Location": self.fake.location(self.fake.host, path), "Range": "0-0"})

    def _finish(self, body: bytes, repository: str, session: str) -> Answer:
        state = self.fake.uploads.get(session)
        raw = urlsplit(self.path).query
        if state is None or not raw.startswith(state):
            return _error(404, "BLOB_UPLOAD_INVALID")
        if self.command == "DELETE":
            del self.fake.uploads[session]
            return Answer(204)
        del self.fake.uploads[session]
        if raw.count("?") or not raw.startswith(state + "&digest="):
            return _error(404, "BLOB_UPLOAD_INVALID")
        digest = self.query["digest"][0]
        if digest != "sha256:" + hashlib.sha256(body).hexdigest():
            return _error(400, "DIGEST_INVALID")
        self.fake.blobs.setdefault(repository, {})[digest] = body
        return Answer(201, headers={"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _blob(self, _: bytes, repository: str, digest: str) -> Answer:
        data = self.fake.blobs.get(repository, {}).get(digest)
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and self.fake.ranges:
            first = int(match[1])
            span = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return Answer(206, data[first:], {"Content-Range": span, "Docker-Content-Digest": digest})
        return Answer(200, data, {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"})

    def _manifest(self, body: bytes, repository: str, name: str) -> Answer:
        stored = self.fake.manifests.setdefault(repository, {})
        if self.command == "PUT":
            return self._put_manifest(body, repository, name)
        if name not in stored:
            return _error(404, "MANIFEST_UNKNOWN")
        data, media_type = stored[name]
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if self.command == "DELETE":
            for key in [k for k, v in stored.items() if v[0] == data]:
                del stored[key]
            return Answer(202)
        if media_type not in self.headers.get("Accept", ""):
            return _error(404, "MANIFEST_UNKNOWN")
        headers = {"Docker-Content-Digest": digest} if self.fake.digest_header else {}
        return Answer(200, data, {"Content-Type": media_type, **headers})

    def _put_manifest(self, body: bytes, repository: str, name: str) -> Answer:
        document = json.loads(body)
        if self.headers.get("Content-Type") != document.get("mediaType"):
            return _error(400, "MANIFEST_INVALID")
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if name.startswith("sha256:") and name != digest:
            return _error(400, "DIGEST_INVALID")
        if self.fake.immutable_tags and name in self.fake.manifests[repository]:
            return _error(400, "TAG_INVALID")
        named = [d["digest"] for d in [document.get("config"), *document.get("layers", ())] if d]
        lost = [d for d in named if d not in self.fake.blobs.get(repository, {})]
        lost += [
            d["digest"] for d in document.get("manifests", ()) if d["digest"] not in self.fake.manifests[repository]
        ]
        if lost:
            entries = [
                {"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown blob", "detail": {"digest": d}} for d in lost
            ]
            return Answer(400, json.dumps({"errors": entries}).encode())
        self.fake.add_manifest(repository, body, document["mediaType"], name)
        subject = (document.get("subject") or {}).get("digest")
        extra = {"OCI-Subject": subject} if subject and self.fake.referrers else {}
        return Answer(201, headers={"Docker-Content-Digest": digest, **extra})

    def _tags(self, _: bytes, repository: str) -> Answer:
        if repository not in self.fake.manifests:
            return _error(404, "NAME_UNKNOWN")
        names = sorted(n for n in self.fake.manifests[repository] if not n.startswith("sha256:"))
        last = self.query.get("last", [""])[0]
        page = [n for n in names if n > last][: self.fake.page_size]
        more = bool(page) and page[-1] != names[-1]
        link = (
            {"Link": f'</v2/{repository}/tags/list?last={page[-1]}&n={self.fake.page_size}>; rel="next"'}
            if more
            else {}
        )
        return Answer(200, json.dumps({"name": repository, "tags": page or None}).encode(), link)

    def _referrers(self, _: bytes, repository: str, digest: str) -> Answer:
        if not self.fake.referrers:
            return Answer(404, b"404 page not found\n")
        found = []
        for name, (data, media_type) in self.fake.manifests.get(repository, {}).items():
            document = json.loads(data)
            if name.startswith("sha256:") and (document.get("subject") or {}).get("digest") == digest:
                found.append(
                    {
                        "mediaType": media_type,
                        "digest": name,
                        "size": len(data),
                        "artifactType": document.get("artifactType", ""),
                    }
                )
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
        return Answer(200, json.dumps(index).encode())

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body
        if isinstance(self.fault, Corrupt) and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if isinstance(self.fault, Truncate):
            self.wfile.write(body[: self.fault.count])
            self.wfile.flush()
            raise _Hangup
        self.wfile.write(body)


def _error(status: int, code: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(
        status,
        json.dumps({"errors": [{"code": code, "message": code.lower(), "detail": None}]}).encode(),
        headers or {},
    )
