"""Answers of a registry: the right one for a request, and then what a hostile or broken one makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Final

from fuzz import mutation
from support.liar import Answer, Asked

BLOB: Final = b"layer" * 500
CONFIG: Final = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
).encode()
_INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


MANIFEST: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", BLOB)],
    }
).encode()
INDEX: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": _INDEX_TYPE,
        "manifests": [
            _descriptor(_MANIFEST_TYPE, MANIFEST)
            | {"platform": {"os": "linux", "architecture": "amd64"}, "artifactType": "a/b"}
        ],
    }
).encode()
_TAGS: Final = b'{"name": "a/b", "tags": ["1", "2"]}'
_TOKEN: Final = b'{"token": "opaque", "expires_in": 60}'
_ERROR: Final = b'{"errors": [{"code": "DENIED", "message": "no", "detail": {"digest": "x"}}]}'
_STATUSES: Final = (
    100, 101, 103, 199, 200, 201, 202, 204, 206, 299, 300, 301, 302, 303, 304, 307, 308, 399, 400, 401, 401, 401, 403, 404,
    405, 409, 413, 416, 418, 429, 499, 500, 502, 503, 504, 507, 599, 600, 999,
)  # fmt: skip
_LINES: Final = (
    b"HTTP/1.1 200", b"HTTP/1.1  ", b"HTTP/9.9 200 OK", b"ICY 200 OK", b"HTTP/1.1 2O0 OK", b"HTTP/1.1 -1 x", b"",
    b"HTTP/1.0 200 OK", b"HTTP/1.1 200 " + b"x" * 70_000, b"\0\xff",
)  # fmt: skip
_CODES: Final = (
    b"UNAUTHORIZED",
    b"BLOB_UPLOAD_UNKNOWN",
    b"MANIFEST_BLOB_UNKNOWN",
    b"DIGEST_INVALID",
    b"TAG_INVALID",
    b"\xff",
)


@dataclass
class Answers:
    """One series of answers. `own` and `stranger` are host:port of the two servers, `shown` says what was answered."""

    rng: Random
    own: str
    stranger: str
    shown: list[str] = field(default_factory=list)

    def registry(self, asked: Asked) -> Answer:
        """A right answer in half of the cases, so that what comes after the first request is reached, too."""
        status, headers, body = self._right(asked)
        return self._sent(asked, status, headers, body, wrong=self.rng.random() < 0.55)

    def elsewhere(self, asked: Asked) -> Answer:
        """What another host answers to a client that was sent there."""
        status, headers, body = self._right(asked)
        if self.rng.random() < 0.3:
            status, headers = 401, {**headers, "WWW-Authenticate": 'Basic realm="elsewhere"'}
        return self._sent(asked, status, headers, body, wrong=self.rng.random() < 0.3)

    def _right(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        path = asked.path
        if "/token" in path:
            return 200, {}, _TOKEN
        if "/blobs/uploads/" in path:
            return (
                (202, {"Location": "/v2/a/b/blobs/uploads/x?_state=y"}, b"")
                if asked.method == "POST"
                else (201, {}, b"")
            )
        if "/blobs/" in path:
            body = CONFIG if digest(CONFIG) in path else BLOB
            return 200, {"Docker-Content-Digest": digest(body)}, body
        if "/tags/list" in path:
            return 200, {}, _TAGS
        if "/referrers/" in path:
            return 200, {"Content-Type": _INDEX_TYPE}, INDEX
        if "/manifests/" in path and asked.method in ("PUT", "DELETE"):
            return (201 if asked.method == "PUT" else 202), {}, b""
        if "/manifests/" in path:
            body = INDEX if digest(INDEX) in path or "sha256" not in path else MANIFEST
            kind = json.loads(body)["mediaType"]
            return 200, {"Content-Type": kind, "Docker-Content-Digest": digest(body)}, body
        return 200, {}, b"{}"

    def _sent(self, asked: Asked, status: int, headers: dict[str, str], body: bytes, *, wrong: bool) -> Answer:
        rng, headers = self.rng, dict(headers)
        lines: list[bytes] = []
        if wrong:
            for _ in range(rng.randint(1, 3)):
                kind = rng.randrange(7)
                if kind == 0:
                    status = rng.choice(_STATUSES)
                    body = rng.choice((body, b"", _ERROR.replace(b"DENIED", rng.choice(_CODES)), b"<html>"))
                elif kind == 1:
                    body = mutation.json_changed(rng, body, (b'"', b"9" * 400, b"\\ud800"))
                elif kind == 2 and headers:
                    headers.pop(rng.choice(sorted(headers)))
                elif kind == 3:
                    lines.append(self._odd_header())
                elif kind == 4:
                    status, headers["Location"] = rng.choice((301, 302, 303, 307, 308, 201, 202)), self._location()
                elif kind == 5:
                    status = 401
                    headers["WWW-Authenticate"] = self._challenge()
                else:
                    body = rng.choice((body[: len(body) // 2], body + b"x", body * 3, b"x" * (70 << 10), b""))
        return self._framed(asked, status, headers, lines, body, wrong=wrong)

    def _framed(
        self, asked: Asked, status: int, headers: dict[str, str], lines: list[bytes], body: bytes, *, wrong: bool
    ) -> Answer:
        rng = self.rng
        first = b"HTTP/1.1 %d x" % status
        if wrong and rng.random() < 0.1:
            first = rng.choice(_LINES)
        if wrong and rng.random() < 0.05:
            first = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.randint(1, 20) + first
        sizes = [b"Content-Length: %d" % len(body)]
        if wrong and rng.random() < 0.2:
            sizes = rng.choice(([], [b"Content-Length: %d" % (len(body) + 5)], [b"Content-Length: -5"], [b"Content-Length: x"],
                                [b"Content-Length: " + b"9" * 30], sizes * 2, [b"Transfer-Encoding: chunked"]))  # fmt: skip
        if sizes == [b"Transfer-Encoding: chunked"] and rng.random() < 0.8:
            body = rng.choice((b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), b"-5\r\nabc", b"zz\r\n", b"fffffffffffffff\r\nabc",
                               b"5;" + b"x" * 70_000, b"3\r\nabcdef", b"0\r\n" + b"T: x\r\n" * 200 + b"\r\n"))  # fmt: skip
        named = [f"{name}: {value}".encode("latin-1", "replace") for name, value in headers.items()]
        head = b"\r\n".join([first, *named, *lines, *sizes])
        sent = head + b"\r\n\r\n" + (b"" if asked.method == "HEAD" and rng.random() < 0.9 else body)
        if wrong and rng.random() < 0.1:
            sent = mutation.changed(rng, sent, (b"\r\n", b"\n", b":", b"\0"))
        if wrong and rng.random() < 0.05:
            sent = sent[: rng.randint(0, len(sent))]
        self.shown.append(f"{asked.method} {asked.path}\n  -> {sent[:500]!r}")
        return sent, not wrong and rng.random() < 0.8

    def _odd_header(self) -> bytes:
        rng = self.rng
        long = rng.choice((b"<", b" ", b"x", b",", b'"', b"\\", b"=")) * rng.choice((50, 60_000))
        return rng.choice(
            (
                b"Link: <%b>; rel=next" % self._location().encode("latin-1", "replace"),
                b"Link: <" + long,
                b'Link: </v2/a/b/tags/list?last=%d>; rel="next"' % rng.randrange(9),
                b"Retry-After: " + rng.choice((b"1", b"-1", b"9" * 400, b"Wed, 99 Foo 99999 99:99:99", b"\xff", long)),
                b"Docker-Content-Digest: " + rng.choice((b"sha256:" + b"0" * 64, b"x", long, b"md5:0", b"\xff")),
                b"Content-Range: "
                + rng.choice((b"bytes 0-9/10", b"bytes 5-4/*", b"x", b"bytes " + b"9" * 99 + b"-1/1")),
                b"Content-Type: "
                + rng.choice((b"text/html", long, b"application/vnd.docker.distribution.manifest.v1+json")),
                b"Warning: 299 - " + long,
                b"OCI-Subject: " + long,
                b"X: " + long,
                b"Content-Encoding: gzip",
                b" folded",
                b": nameless",
                b"\0\0\0",
                b"X: y\r\n" * 150,
            )
        )

    def _location(self) -> str:
        if self.rng.random() < 0.4:
            return f"http://{self.stranger}/v2/a/b/blobs/{digest(BLOB)}"
        return self.rng.choice(
            (
                f"http://{self.stranger}/v2/a/b/blobs/{digest(BLOB)}", f"http://{self.stranger}/v2/a/b/tags/list",
                f"//{self.stranger}/x", f"http://{self.own}@{self.stranger}/x", f"http://{self.stranger}\\@{self.own}/x",
                f"http://alice:pw@{self.stranger}/x", f"http://{self.own}/v2/a/b/blobs/uploads/z", "/v2/", "?x", "#x", "",
                "http://", "http://[", "http://a..b/", f"http://{'a' * 70}.invalid/x", "ftp://x/", "file:///etc/passwd",
                "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "https://127.0.0.1:1/", "\xa0http://x",
                f"http://{self.stranger}?", f"HTTP://{self.stranger}/x", "http://[::1%25lo]:1/", "/" + "x" * 60_000, "..",
                "\t/x",
            )
        )  # fmt: skip

    def _challenge(self) -> str:
        realm = self.rng.choice(
            (f"http://{self.own}/token", f"http://{self.own}/token?a=b#c", "", "x", "http://", "http://a..b/", "https://[",
             f"http://u:p@{self.own}/token", "file:///etc/passwd", "http://127.0.0.1:0/token", "/token", "\xff")
        )  # fmt: skip
        return self.rng.choice(
            (
                f'Bearer realm="{realm}",service="s",scope="repository:a/b:pull"', f"Bearer realm={realm}", 'Basic realm="x"',
                "Basic", f'Bearer realm="{realm}", Basic realm=x', "Negotiate",
                f'Bearer realm="{realm}",error="insufficient_scope"',
                'Bearer scope="' + "\\" * 9, "", ",,,=", f'bEaReR ReAlM="{realm}"', "Basic " * 2000,
            )
        )  # fmt: skip
