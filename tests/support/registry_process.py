"""The real registry (CNCF distribution) as a process on loopback, its storage on tmpfs.

Its binary is STRATA_REGISTRY_BIN, or the newest one below the cache that `make cluster-up` fills.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import bcrypt

from support.certificates import Leaf

_START_SECONDS = 15.0


def find_binary() -> Path | None:
    """None if there is none: then these tests are skipped."""
    if named := os.environ.get("STRATA_REGISTRY_BIN"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strata/bin"
    found = sorted(cache.glob("*/registry"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


class RegistryProcess:
    """`host` is localhost:port or 127.0.0.1:port and stays the same over `restart`. `log` is what it has said."""

    def __init__(
        self,
        binary: Path,
        *,
        users: Mapping[str, str] | None = None,
        tls: Leaf | None = None,
        token: Mapping[str, Any] | None = None,
        root_bundle: bytes = b"",
        readonly: bool = False,
        delete: bool = True,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry-", dir="/dev/shm"))
        self._binary = binary
        self._environment = dict(environment)
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"127.0.0.1:{self._port}"
        self._config = self._base(readonly, delete)
        if users is not None:
            self.set_users(users)
            self._config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}}
        if token is not None:
            (self.folder / "tokens.pem").write_bytes(root_bundle)
            self._config["auth"] = {"token": {"rootcertbundle": str(self.folder / "tokens.pem"), **token}}
        if tls is not None:
            (self.folder / "tls.crt").write_bytes(tls.certificate)
            (self.folder / "tls.key").write_bytes(tls.key)
            self._config["http"]["tls"] = {
                "certificate": str(self.folder / "tls.crt"),
                "key": str(self.folder / "tls.key"),
            }

    def _base(self, readonly: bool, delete: bool) -> dict[str, Any]:
        storage: dict[str, Any] = {
            "filesystem": {"rootdirectory": str(self.folder / "storage")},
            "delete": {"enabled": delete},
            "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": readonly}},
        }
        http = {"addr": self.host, "secret": secrets.token_hex(16)}
        return {"version": "0.1", "log": {"level": "info"}, "storage": storage, "http": http}

    def set_users(self, users: Mapping[str, str]) -> None:
        """The registry reads the file again at the next request."""
        lines = [
            f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}" for user, password in users.items()
        ]
        fresh = self.folder / "htpasswd.new"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self.folder / "htpasswd")

    def set_secret(self) -> None:
        """A new http.secret: upload sessions of before are lost at the next restart."""
        self._config["http"]["secret"] = secrets.token_hex(16)

    def set_readonly(self, readonly: bool) -> None:
        """From the next restart on."""
        self._config["storage"]["maintenance"]["readonly"]["enabled"] = readonly

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def storage(self) -> Path:
        return self.folder / "storage/docker/registry/v2"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        config = self.folder / "config.json"
        config.write_text(json.dumps(self._config))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "serve", str(config)],
                stdout=log,
                stderr=log,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none", **self._environment},
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait(timeout=20)

    def restart(self) -> None:
        self.stop(kill=True)
        self.start()

    def collect_garbage(self) -> None:
        """Offline, as `registry garbage-collect` runs."""
        done = subprocess.run(
            [self._binary, "garbage-collect", str(self.folder / "config.json")], capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-2000:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(kill=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(0.2)
        return sock.connect_ex(("127.0.0.1", port)) == 0
