"""A real HTTP(S) server of a few answers, for tests of downloads."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """`cut` is how many bytes of the body are sent before the connection is closed; -1 sends all."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = -1


@dataclass
class FileServer:
    """Answers GET of the paths of `answers`; a list is given one by one, its last for ever. `log` keeps requests, `sent`
    counts the bytes of bodies.

    An answer with an ETag is a 304 to whoever has it already (RFC 9110, 13.1.2).
    """

    answers: dict[str, Answer | list[Answer]]
    tls: ssl.SSLContext | None = None
    authorization: str = ""
    host: str = "127.0.0.1"
    log: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"server_settings": self})
        self.server = http.server.ThreadingHTTPServer((self.host, 0), handler)
        self.server.daemon_threads = True
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.server.server_address[1]}"

    def take(self, path: str) -> Answer:
        found = self.answers.get(path.partition("?")[0], Answer(status=404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    server_settings: FileServer

    def do_GET(self) -> None:
        settings = self.server_settings
        settings.log.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        answer = settings.take(self.path)
        if settings.authorization and self.headers.get("Authorization") != settings.authorization:
            answer = Answer(status=401)
        elif answer.status == 200 and _opaque(answer.headers.get("ETag")) in map(_opaque, self._tags()):
            answer = Answer(status=304, headers=answer.headers)
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = answer.body if answer.cut < 0 else answer.body[: answer.cut]
        settings.sent += len(body)  # before whoever waits for it can look
        self.wfile.write(body)
        if answer.cut >= 0:
            self.close_connection = True

    def _tags(self) -> list[str]:
        return [tag.strip() for tag in self.headers.get("If-None-Match", "").split(",") if tag.strip()]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent: `log` has it all."""


def _opaque(tag: str | None) -> str:
    """What weak comparison looks at (RFC 9110, 8.8.3.2)."""
    return (tag or "none").removeprefix("W/")
