"""The operator as a process of this machine instead of a pod: the same code, in the node's network, as easy to kill as
any process. Its clock can be set while it runs, its API server can be a proxy, and its sources another commit's."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import cluster
from cluster import folders, processes
from support import faults, kubectl


@functools.cache
def shim() -> str:
    """The library that shifts a process's wall clock (wallclock.c); empty where there is no C compiler."""
    compiler = shutil.which("cc")
    if not compiler:
        return ""
    folder = tempfile.mkdtemp(prefix="strata-wallclock-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = f"{folder}/wallclock.so"
    source = str(Path(__file__).with_name("wallclock.c"))
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def wall_clock(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock differs by what is written in `file`, `+3600` for an hour, at any
    moment; its monotonic clocks are the machine's. Empty without shim()."""
    return {"LD_PRELOAD": shim(), "STRATA_TEST_CLOCK": str(file)} if shim() else {}


def settings(k: kubectl.Kubectl) -> dict[str, str]:
    """The STRATA_ variables of the release."""
    found = k.get("deployment", "strata-operator", namespace=faults.SYSTEM[1])
    assert found
    (container,) = found["spec"]["template"]["spec"]["containers"]
    plain = {v["name"]: str(v.get("value", "")) for v in container["env"] if "valueFrom" not in v}
    return plain | {"STRATA_NAMESPACE": faults.SYSTEM[1]}


def token(k: kubectl.Kubectl) -> str:
    """A token of the operator's own ServiceAccount: what it may do is what it may do in its pod."""
    return k(*faults.SYSTEM, "create", "token", "strata-operator", "--duration=12h").strip()


@contextlib.contextmanager
def instead(k: kubectl.Kubectl) -> Iterator[None]:
    """No operator of the release meanwhile: whoever is started here is the only one."""
    k(*faults.SYSTEM, "scale", faults.DEPLOYMENT, "--replicas=0")
    gone = ("--for=delete", "--selector=app.kubernetes.io/component=operator", "--timeout=90s")
    k(*faults.SYSTEM, "wait", "pod", *gone)
    try:
        yield
    finally:
        k(*faults.SYSTEM, "scale", faults.DEPLOYMENT, "--replicas=1")
        k(*faults.SYSTEM, "rollout", "status", faults.DEPLOYMENT, "--timeout=180s")


@dataclass
class Operator:
    """One operator at a time, with its log in `folder`. `sources` is the checkout whose code runs."""

    where: cluster.Cluster
    folder: Path
    kubeconfig: Path
    environment: dict[str, str]
    port: int
    name: str = "outside"
    identity: str = "outside"  # who holds the Lease: a container that starts again in its pod is the same
    sources: Path = kubectl.CHECKOUT
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run it; the former one has ended."""
        assert not self.alive
        init = processes.init(folders.this_cluster())
        assert init, "the node does not run"
        enter = ["nsenter", "--target", str(init), "--mount", "--net", f"--wdns={kubectl.CHECKOUT}", "--"]
        self.starts += 1
        self.note(f"start {self.starts} as {self.identity}")
        with self.log.open("ab") as out:
            argv = [*enter, sys.executable, "-m", "strata_operator"]
            environment = self._environment()
            self._process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        """As the kernel does: no handler runs."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """As the kubelet asks a container to."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Nothing runs any more."""
        if self.alive:
            self.kill()

    def clock(self, offset: float) -> None:
        """Set its wall clock `offset` seconds from the machine's, now and after it starts anew."""
        self._offset.write_text(f"{offset:+.0f}\n")

    def metrics(self, path: str = "metrics") -> str:
        """A page of its own; empty if it does not answer."""
        url = f"http://{self.where.node_ip}:{self.port}/{path}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    def note(self, text: str) -> None:
        """A line in its log, with the machine's time."""
        with self.log.open("a") as out:
            out.write(f"--- {time.strftime('%H:%M:%S')} {text}\n")

    def told(self) -> str:
        """The end of its log, for failures."""
        return self.log.read_text("utf-8", "replace")[-6000:]

    @property
    def _offset(self) -> Path:
        return self.folder / f"{self.name}.clock"

    def _environment(self) -> dict[str, str]:
        if not self._offset.exists():
            self.clock(0)
        found = {
            **self.environment,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.sources}/operator:{self.sources}/builder",
            "KUBECONFIG": str(self.kubeconfig),
            "STRATA_POD_NAME": self.identity,
            "STRATA_LISTEN": f"0.0.0.0:{self.port}",
        }
        return found | wall_clock(self._offset)

    def _end(self, number: int) -> None:
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)
        self._process.wait(60)


def direct(k: kubectl.Kubectl, folder: Path) -> Path:
    """A kubeconfig with the operator's rights at the API server itself."""
    document = yaml.safe_load(k.where.kubeconfig.read_text())
    for user in document["users"]:
        user["user"] = {"token": token(k)}
    file = folder / "operator.kubeconfig"
    file.write_text(yaml.safe_dump(document))
    file.chmod(0o600)
    return file
