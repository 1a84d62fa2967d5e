"""The operator as a process of its own, and what it costs: processor time, memory, and its metrics."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds since the process began, its ended children among them; bytes of memory now and at the most."""

    cpu: float
    memory: int
    peak: int


def usage(pid: int) -> Usage:
    """What /proc says of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    said = Path(f"/proc/{pid}/status").read_text()
    memory = {
        name: int(kilobytes) << 10 for name, kilobytes in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", said, re.MULTILINE)
    }
    return Usage(sum(map(int, fields[11:15])) / _TICKS, memory["VmRSS"], memory["VmHWM"])


class OperatorProcess:
    """`python -m strata_operator` with these settings (without their prefix), its log in `log`."""

    def __init__(self, kubeconfig: Path, log: Path, settings: Mapping[str, str]) -> None:
        self._port = _free_port()
        self._log = log
        own = {"NAMESPACE": "strata-system", "LISTEN": f"127.0.0.1:{self._port}", "LOG_FORMAT": "plain", **settings}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STRATA_", "KUBERNETES_"))}
        self._environment = {**kept, **{f"STRATA_{k}": v for k, v in own.items()}, "KUBECONFIG": str(kubeconfig)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        command = [sys.executable, "-m", "strata_operator"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def stop(self, *, kill: bool = False) -> float:
        """End it; the seconds that took."""
        process, self._process = self._process, None
        began = time.monotonic()
        if process is not None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        return time.monotonic() - began

    def close(self) -> None:
        """As a container runtime ends it at once: with SIGKILL."""
        self.stop(kill=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def usage(self) -> Usage:
        return usage(self.pid)

    def metrics(self) -> Samples:
        """All samples of /metrics; none while it does not listen yet."""
        assert not self.ended(), f"the operator ended:\n{self.log[-3000:]}"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            return parse(answer.read().decode())
        return {}

    def ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz") as answer:
            return bool(answer.status == 200)
        return False

    def until(self, true: Callable[[Samples], bool], *, seconds: float, what: str) -> float:
        """Wait until the metrics say so; the seconds that took."""
        began = time.monotonic()
        while not true(self.metrics()):
            if time.monotonic() - began > seconds:
                raise AssertionError(f"after {seconds:.0f} s not {what}:\n{self.log[-3000:]}")
            time.sleep(0.1)
        return time.monotonic() - began


def parse(text: str) -> Samples:
    """The text exposition format as (name, labels) -> value."""
    return {
        (name, tuple(sorted(_LABEL.findall(labels)))): float(value) for name, labels, value in _SAMPLE.findall(text)
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric over all samples that have these labels."""
    return sum(value for (n, has), value in samples.items() if n == name and labels.items() <= dict(has).items())


def quantile(before: Samples, after: Samples, name: str, q: float, **labels: str) -> float:
    """The upper bound of the bucket in which the quantile of a histogram lies; 0 if nothing was observed."""

    def buckets(samples: Samples) -> dict[float, float]:
        found: dict[float, float] = {}
        for (n, has), value in samples.items():
            own = dict(has)
            if n == f"{name}_bucket" and labels.items() <= own.items():
                bound = float(own["le"])
                found[bound] = found.get(bound, 0.0) + value
        return found

    first, last = buckets(before), buckets(after)
    counts = {bound: count - first.get(bound, 0.0) for bound, count in sorted(last.items())}
    wanted = q * max(counts.values(), default=0.0)
    return next((bound for bound, count in counts.items() if count >= wanted > 0), 0.0)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
