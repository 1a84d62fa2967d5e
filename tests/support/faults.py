"""Faults made on purpose, with what an operating system and a network really do to a program.

Processes of containers are stopped and killed by signals; packets are dropped or refused by rules in the node's network
namespace. All of it needs the node of the tests' own cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cluster
from support import e2e, kubectl

#: Whether outages are as long, and sweeps as wide, as `make test-faults` has them.
LONG = os.environ.get("STRATA_LONG", "") not in ("", "0")
SYSTEM = ("-n", "strata-system")
DEPLOYMENT = "deployment/strata-operator"
_OPERATOR = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=strata"


def processes(container: str) -> list[int]:
    """Processes of this machine in the container with that id, its first process first."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted((pid for pid in found if container in _read(pid, "cgroup")), key=_rank)


def _rank(pid: int) -> int:
    """Its number in the innermost process namespace."""
    named = [line for line in _read(pid, "status").splitlines() if line.startswith("NSpid:")]
    return int(named[0].split()[-1]) if named else 1 << 22


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""  # it has ended


def container(pod: e2e.Body, name: str = "") -> str:
    """The id of the pod's running container of that name (or of its first one), empty if it does not run."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if name in ("", status["name"]) and status.get("state", {}).get("running"):
            return str(status["containerID"]).rpartition("/")[2]
    return ""


class Operator:
    """The one operator of the release, as a process of this machine."""

    def __init__(self, k: kubectl.Kubectl) -> None:
        self.k = k

    def pod(self) -> e2e.Body:
        """Its pod, once there is one with a running container."""
        found: e2e.Body = kubectl.until(self._running, seconds=90, what="an operator that runs")
        return found

    def pid(self) -> int:
        """Its process, once there is one."""

        def found() -> list[int]:
            running = self._running()
            return processes(container(running)) if running else []

        pids: list[int] = kubectl.until(found, seconds=90, what="the operator's process")
        return pids[0]

    def kill(self) -> None:
        """As the kernel does when memory is short: no handler runs. The kubelet starts it anew."""
        os.kill(self.pid(), signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped where it is, and killed there at the end: it never sees what happens meanwhile."""
        pid = self.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Killed without a word, and there again at the end."""
        with self.frozen():
            self.k(*SYSTEM, "scale", DEPLOYMENT, "--replicas=0")
        try:
            yield
        finally:
            self.k(*SYSTEM, "scale", DEPLOYMENT, "--replicas=1")
            self.k(*SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=90s")

    def _running(self) -> e2e.Body | None:
        pods: list[Any] = (self.k.get("pods", namespace=SYSTEM[1], labelSelector=_OPERATOR) or {}).get("items", [])
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and container(pod)]
        return alive[0] if len(alive) == 1 else None


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Processes that neither run nor end: their connections stay open, and nobody answers."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # the kubelet may have lost its patience
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def cut(where: cluster.Cluster, rule: str) -> Iterator[None]:
    """What pods send is subject to an nftables rule meanwhile, before Services are translated: `ip daddr A drop`."""
    table = f"fault-{uuid.uuid4().hex[:8]}"
    hook = "type filter hook prerouting priority raw; policy accept;"
    _nft(where, f"table ip {table} {{ chain sent {{ {hook} {rule}; }}; }}\n")
    try:
        yield
    finally:
        _nft(where, f"delete table ip {table}\n")


def _nft(where: cluster.Cluster, script: str) -> None:
    argv = ["ip", "netns", "exec", str(where.netns), "nft", "-f", "-"]
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
