"""What tests of managed Registries do on the cluster: copy an image into one, read its logins, wait until it serves."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from typing import Any

from support import kubectl

PYTHON = str(kubectl.CHECKOUT / ".venv/bin/python")


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
    body = k.get("secret", secret, namespace=namespace)
    assert body, f"no Secret {namespace}/{secret}"
    found = json.loads(base64.b64decode(body["data"][".dockerconfigjson"]))["auths"][host]
    return found["username"], found["password"]


def reached(k: kubectl.Kubectl, namespace: str, name: str) -> dict[str, str]:
    """How a managed Registry is reached from inside the node by who may write: a side of copy_image's task."""
    body = k.get("registry", name, namespace=namespace)
    assert body, f"no Registry {namespace}/{name}"
    host = body["status"]["endpoints"]["push"]
    user, password = login(k, namespace, "strata-push", host)
    return {"host": host, "username": user, "password": password, "ca": body["status"].get("caBundle", "")}


def wait_ready(k: kubectl.Kubectl, namespace: str, kind: str, name: str, *, seconds: float = 90) -> dict[str, Any]:
    """Wait for Ready of the present generation; fails at once with the message if it is Stalled for good."""

    def ready() -> dict[str, Any] | None:
        body = k.get(kind, name, namespace=namespace) or {}
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
