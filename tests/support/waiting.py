"""Builds whose step runs until a test lets it go: what happens meanwhile happens during the build, on any machine."""

from __future__ import annotations

import functools

from support import e2e

_GO = "/dev/shm/go"
_SIZE = 3_000_000  # bytes that take more than one write to push


def dockerfile(then: str = "true") -> str:
    """A step that waits, then runs `then` and leaves a file that no cache holds."""
    wait = f"until [ -e {_GO} ]; do sleep 0.1; done"
    return f"FROM busybox:1.36\nRUN {wait}; head -c {_SIZE} /dev/urandom > /made; {then}\n"


def until_running(home: e2e.Namespace, *names: str, seconds: float = 120) -> None:
    """Until each has a pod that runs, and does not go on before it is let go."""
    for name in names:
        home.until(f"a running pod of {name}", functools.partial(running, home, name), name=name, seconds=seconds)


def running(home: e2e.Namespace, name: str) -> list[e2e.Body]:
    """Its pods that run and are not told to end."""
    pods = [pod for pod in home.pods(name) if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in pods if _ready(pod)]


def let_go(home: e2e.Namespace, *names: str) -> None:
    """The steps that wait may go on. A pod may end before it hears of it."""
    for name in names:
        for pod in running(home, name):
            told = functools.partial(_told, home, name, pod["metadata"]["name"])
            home.until(f"{name} hears that it may go on", told, name=name)


def _told(home: e2e.Namespace, name: str, pod: str) -> bool:
    """The container has busybox once its root is unpacked."""
    done = home.ask("exec", pod, "-c", "build", "--", "/bin/touch", _GO).code == 0
    return done or pod not in [p["metadata"]["name"] for p in running(home, name)]


def finish(home: e2e.Namespace, name: str, *, seconds: float = 180) -> e2e.Body:
    """Let every attempt go on until the build is Ready; gives its status."""

    def ready() -> bool:
        let_go(home, name)
        found = home.get("imagebuild", name)
        now = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
        return bool(now.get("Ready", {}).get("status") == "True")

    home.until(f"{name} is Ready", ready, seconds=seconds, name=name)
    return home.wait(name)


def _ready(pod: e2e.Body) -> bool:
    """All containers run."""
    found = pod.get("status", {}).get("containerStatuses", ())
    return bool(found) and all(status.get("state", {}).get("running") for status in found)
