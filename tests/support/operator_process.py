"""The operator and a node proxy as processes in the node of the tests' own cluster, where Services can be reached."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support import kubectl


class Process:
    """A program inside the node; its log is a file."""

    def __init__(self, log: Path, *argv: str, **environment: str) -> None:
        self.log = log
        self._argv = argv
        self._environment = environment
        self._running: subprocess.Popen[bytes] | None = None
        self._where = kubectl.current().where

    def start(self) -> None:
        env = {**kubectl.environment(), **self._environment, "KUBECONFIG": str(self._where.kubeconfig)}
        with self.log.open("ab") as out:
            self._running = subprocess.Popen(
                kubectl.inside(self._where, *self._argv), stdout=out, stderr=out, env=env, start_new_session=True
            )

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it; returns its exit code."""
        assert self._running
        for pid in [*_descendants(self._running.pid), self._running.pid]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        code = self._running.wait(30)
        self._running = None
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running:
            self.kill()
        if error:
            print(f"--- end of {self.log.name} ---\n{self.log.read_text(errors='replace')[-4000:]}", file=sys.stderr)


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [grandchild for child in children for grandchild in _descendants(child)] + children


PYTHON = str(kubectl.CHECKOUT / ".venv/bin/python")


def operator(log: Path, **settings: str) -> Process:
    """The operator; settings are STRATA_ variables without the prefix."""
    plain = {"NAMESPACE": "strata-system", "LISTEN": "127.0.0.1:18080", "LOG_FORMAT": "plain"}
    given = plain | {"POLL_ALLOWED_CIDRS": "10.0.0.0/8"} | settings
    return Process(log, PYTHON, "-m", "strata_operator", **{f"STRATA_{key}": value for key, value in given.items()})


def node_proxy(log: Path, table: Path) -> Process:
    return Process(log, PYTHON, "-m", "strata_operator.nodeproxy", STRATA_PROXY_TABLE=str(table))


class Mounted(threading.Thread):
    """Plays the kubelet: keeps a key of a ConfigMap in a file."""

    def __init__(self, k: kubectl.Kubectl, namespace: str, name: str, key: str, path: Path) -> None:
        super().__init__(daemon=True)
        self._source = (k, namespace, name, key)
        self._path = path
        self._ended = threading.Event()

    def run(self) -> None:
        k, namespace, name, key = self._source
        while not self._ended.wait(0.5):
            body = k.get("configmap", "--namespace", namespace, name)
            if body and key in body.get("data", {}):
                fresh = self._path.with_suffix(".new")
                fresh.write_text(body["data"][key])
                fresh.replace(self._path)

    def end(self) -> None:
        self._ended.set()
        self.join(30)


def copy_image(source: dict[str, Any], target: dict[str, Any], tag: str) -> str:
    """Copy an image from inside the node; returns its digest."""
    argv = kubectl.inside(kubectl.current().where, PYTHON, str(kubectl.CHECKOUT / "tests/support/copy_image.py"))
    task = json.dumps({"source": source, "target": target, "tag": tag})
    done = subprocess.run(
        argv, input=task, capture_output=True, text=True, timeout=120, env=kubectl.environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def login(k: kubectl.Kubectl, namespace: str, secret: str, host: str) -> tuple[str, str]:
    """(user, password) for a host in a dockerconfigjson Secret."""
    body = k.get("secret", "--namespace", namespace, secret)
    assert body, f"no Secret {namespace}/{secret}"
    found = json.loads(base64.b64decode(body["data"][".dockerconfigjson"]))["auths"][host]
    return found["username"], found["password"]


def wait_ready(k: kubectl.Kubectl, namespace: str, kind: str, name: str, *, seconds: float = 90) -> dict[str, Any]:
    """Wait for Ready of the present generation; fails at once with the message if it is Stalled for good."""

    def ready() -> dict[str, Any] | None:
        body = k.get(kind, "--namespace", namespace, name) or {}
        found = {c["type"]: c for c in body.get("status", {}).get("conditions", ())}
        one = found.get("Ready", {})
        good = one.get("status") == "True" and one.get("observedGeneration") == body["metadata"]["generation"]
        return body if good else None

    started = time.monotonic()
    try:
        found: dict[str, Any] = kubectl.until(ready, seconds=seconds, what=f"{kind} {namespace}/{name} Ready")
    except AssertionError:
        shown = k.ask("get", kind, "--namespace", namespace, name, "-o", "yaml").out
        raise AssertionError(f"not Ready after {time.monotonic() - started:.0f} s:\n{shown}") from None
    return found
