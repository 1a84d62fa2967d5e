"""A real git server for tests: `git http-backend` behind HTTP(S) with a password or token, and sshd.

Runs in the test's process (`with HttpServer(root, ...) as server`), or alone:
``PYTHONPATH=tests python -m support.git_server ROOT --port 8443 --user u:p --certificate C --key K``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from support import certificates

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada Lovelace",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_DATE": "2024-03-01T12:00:00Z",
    "GIT_COMMITTER_DATE": "2024-03-01T12:00:00Z",
}


def git(*arguments: str | Path, cwd: Path) -> str:
    """What git writes, stripped."""
    command = ["git", "-c", "init.defaultBranch=main", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **IDENTITY}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository to be served: commits are made in `folder`, `bare` is what clients see."""

    folder: Path
    bare: Path

    @classmethod
    def make(cls, root: Path, name: str = "app", **options: str) -> Repository:
        folder = root / f".work-{name}"
        folder.mkdir(parents=True)
        git("init", "--quiet", *options.values(), ".", cwd=folder)
        git("init", "--quiet", "--bare", *options.values(), root / f"{name}.git", cwd=folder)
        return cls(folder, root / f"{name}.git")

    def commit(self, files: dict[str, str | bytes | None], message: str = "Change", branch: str = "main") -> str:
        """Writes (None removes) the files, commits and publishes; gives the commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git("add", "--all", cwd=self.folder)
        git("commit", "--quiet", "--allow-empty", "-m", message, cwd=self.folder)
        self.push(f"HEAD:refs/heads/{branch}")
        return git("rev-parse", "HEAD", cwd=self.folder)

    def push(self, *refs: str) -> None:
        git("push", "--quiet", "--force", self.bare, *refs, cwd=self.folder)
        git("update-server-info", cwd=self.bare)


def serve_commit(checkout: Path, root: Path, name: str) -> tuple[str, int]:
    """Makes `root`/`name`.git with the commit that `checkout` stands at, and without its uncommitted changes.

    Gives the commit and its time (seconds since 1970).
    """
    bare = root / f"{name}.git"
    git("init", "--quiet", "--bare", bare, cwd=root)
    git("config", "receive.shallowUpdate", "true", cwd=bare)
    trusting = ("-c", "safe.directory=*")  # the checkout may be another user's
    git(*trusting, "push", "--quiet", bare, "HEAD:refs/heads/main", cwd=checkout)
    commit, time_ = git("log", "-1", "--format=%H %ct", "main", cwd=bare).split()
    return commit, int(time_)


@dataclass
class HttpServer:
    """Serves the bare repositories below `root` on `url`. `log` keeps (path, Authorization header) of each request.

    `smart` off makes it a plain file server; `protocol_v2` off hides the client's wish for it; `filters` off makes it
    send every file; `redirect` sends every request on to another base URL; `refuse` answers each with this status and
    `retry_after`. `sent` counts the bytes of answers.
    """

    root: Path
    user: str = ""
    password: str = ""
    token: str = ""
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    smart: bool = True
    protocol_v2: bool = True
    filters: bool = True
    redirect: str = ""
    refuse: int = 0
    retry_after: str = ""
    log: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"settings": self})
        self.server = _Server((self.host, self.port), handler)
        self.server.daemon_threads = True
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def admits(self, header: str) -> bool:
        if self.token:
            return header == f"Bearer {self.token}"
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        kind, _, value = header.partition(" ")
        return (kind.lower(), value) == ("basic", wanted) or not self.user


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may be killed; that is no fault of ours and not worth a word."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    settings: HttpServer
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self) -> None:
        header = self.headers.get("Authorization", "")
        self.settings.log.append((self.path, header))
        if self.settings.refuse:
            self._body()
            self.send_response(self.settings.refuse)
            if self.settings.retry_after:
                self.send_header("Retry-After", self.settings.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.settings.redirect:
            self.send_response(302)
            self.send_header("Location", self.settings.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not self.settings.admits(header):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.settings.smart:
            self._backend()
        else:
            self._file()

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent: `log` has it all."""

    def _file(self) -> None:
        path = self.settings.root / unquote(urlsplit(self.path).path).lstrip("/")
        data = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _backend(self) -> None:
        output = subprocess.run(
            ["git", "http-backend"], env=self._environment(), input=self._body(), capture_output=True, check=False
        ).stdout
        self.settings.sent += len(output)
        head, _, body = output.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines() if ": " in line]
        status = next((value for name, value in headers if name == "Status"), "200")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _environment(self) -> dict[str, str]:
        parts = urlsplit(self.path)
        return {
            **os.environ,
            **IDENTITY,
            "GIT_PROJECT_ROOT": str(self.settings.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_1": "true" if self.settings.filters else "false",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if self.settings.protocol_v2 else "",
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
        }

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


def server_tls(folder: Path, address: str = "127.0.0.1") -> tuple[ssl.SSLContext, bytes]:
    """A server's context for localhost and `address`, and the certificate (PEM) of the authority behind it."""
    authority = certificates.Authority()
    leaf = authority.leaf(addresses=(address,))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, authority.pem


@dataclass(frozen=True, slots=True)
class SshServer:
    """`url` is the base of ssh URLs whose path is a repository's own; `identity` may log in."""

    url: str
    identity: bytes
    known_hosts: bytes


@contextlib.contextmanager
def sshd(folder: Path, *, host: str = "127.0.0.1", port: int = 0, user: str = "root") -> Iterator[SshServer]:
    """A real sshd that one key may use. Needs OpenSSH's server, and root for its privilege separation."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    folder.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "identity"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True
        )
    port = port or _free_port(host)
    shutil.copy(folder / "identity.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress {host}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        'AcceptEnv GIT_PROTOCOL\nForceCommand /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _await(host, port, process)
        key = " ".join((folder / "host.pub").read_text().split()[:2])
        yield SshServer(
            f"ssh://{user}@{host}:{port}", (folder / "identity").read_bytes(), f"[{host}]:{port} {key}\n".encode()
        )
    finally:
        process.terminate()
        process.wait()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _await(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"sshd did not start on {host}:{port}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the bare git repositories below a folder over HTTP(S).")
    parser.add_argument("root", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--user", default="", metavar="NAME:PASSWORD")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    user, _, password = options.user.partition(":")
    with HttpServer(options.root, user, password, tls=context, host=options.host, port=options.port) as server:
        print(f"serving {options.root} on {server.url}", flush=True)
        server.thread.join()


if __name__ == "__main__":
    main()
