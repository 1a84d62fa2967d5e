"""A token server (distribution, docs/spec/auth/token.md) and the registry half that checks its tokens, for FakeRegistry
and the real one.

Tokens are JWTs signed with ES256, their key in `x5c`, as distribution accepts them.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from support import certificates

#: Decides which of the asked actions a user ("" = nobody) gets on a repository.
Policy = Callable[[str, str, frozenset[str]], frozenset[str]]

SERVICE = "registry.test"
ISSUER = "tokens.test"


def allow_all(user: str, repository: str, asked: frozenset[str]) -> frozenset[str]:
    return asked


class TokenServer:
    """`realm` is its URL. `asked` lists each request as (user, scopes); `life` is what expires_in says, None leaves it
    out."""

    def __init__(self, users: Mapping[str, str], *, policy: Policy = allow_all, life: int | None = 300) -> None:
        self.users = dict(users)
        self.policy = policy
        self.life = life
        self.field = "token"
        self.refresh_tokens: dict[str, str] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.issued: dict[str, list[dict[str, Any]]] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = certificates.self_signed("token signer", self._key)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.tokens = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/auth/token"

    @property
    def root_bundle(self) -> bytes:
        """PEM for distribution's `rootcertbundle`."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def grant(self, user: str, scopes: tuple[str, ...]) -> str:
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = self.policy(user, name, frozenset(actions.split(",")))
            access.append({"type": kind, "name": name, "actions": sorted(granted)})
        token = self._sign(user, access)
        self.issued[token] = access
        return token

    def _sign(self, user: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + 600,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        text = b".".join(_encode(json.dumps(part).encode()) for part in (head, claims))
        r, s = utils.decode_dss_signature(self._key.sign(text, ec.ECDSA(hashes.SHA256())))
        return b".".join((text, _encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")))).decode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tokens: TokenServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no failure of a test."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        pairs = parse_qsl(urlsplit(self.path).query)
        header = self.headers.get("Authorization", "")
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        if header and self.server.tokens.users.get(user) != password:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "bad credentials"}]})
            return
        self._grant(user, tuple(value for key, value in pairs if key == "scope"), dict(pairs).get("service", ""))

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        user = self.server.tokens.refresh_tokens.get(form.get("refresh_token", ""))
        if form.get("grant_type") != "refresh_token" or user is None:
            self._answer(401, {"error": "invalid_grant"})
            return
        self._grant(user, tuple(form.get("scope", "").split()), form.get("service", ""))

    def _grant(self, user: str, scopes: tuple[str, ...], service: str) -> None:
        tokens = self.server.tokens
        if service != SERVICE:
            self._answer(400, {"errors": [{"code": "DENIED", "message": f"unknown service {service}"}]})
            return
        tokens.asked.append((user, scopes))
        answer: dict[str, Any] = {tokens.field: tokens.grant(user, scopes)}
        self._answer(200, answer | ({"expires_in": tokens.life} if tokens.life is not None else {}))

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
