"""What a build costs: the processor and memory of a control group, the bytes and requests that a registry sees."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cluster import cgroups

_LOOK = 0.02  # seconds between two looks at the memory in use
_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one build: seconds, bytes, counts. `stored` are the bytes of the image's layers as the registry has them."""

    wall: float
    cpu: float
    memory: int
    up: int
    down: int
    requests: int
    registry_cpu: float
    stored: int = 0


@dataclass
class Group:
    """A control group in which programs run, and what they have used; `also` are further ones of the same builder."""

    name: str
    also: Sequence[str] = ()
    peak: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        cgroups.make(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        cgroups.remove(self.name)

    def run(self, argv: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in the group to its end."""
        command = ["sh", "-c", f'{self._enter("$$")} exec "$@"', "sh", *argv]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace", check=False
        )

    def adopt(self, pid: int) -> None:
        """Takes a process and its children into the group."""
        for one in (pid, *_children(pid)):
            for file in self._procs():
                file.write_text(str(one))

    def cpu(self) -> float:
        """Seconds of processor time that it has used so far."""
        return sum(map(_cpu, (self.name, *self.also)))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within, `peak` is the most memory of programs themselves (not of files on tmpfs) that was seen."""
        self.peak, ended = 0, threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK):
                self.peak = max(self.peak, sum(map(_memory, (self.name, *self.also))))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _procs(self) -> list[Path]:
        return [hierarchy / self.name / "cgroup.procs" for hierarchy in cgroups.hierarchies()]

    def _enter(self, pid: str) -> str:
        return "".join(f"echo {pid} > '{file}'; " for file in self._procs())


def _cpu(name: str) -> float:
    if cgroups.unified():
        return int(_entries(cgroups.ROOT / name / "cpu.stat").get("usage_usec", 0)) / 1e6
    file = cgroups.ROOT / "cpuacct" / name / "cpuacct.usage"
    return int(file.read_text()) / 1e9 if file.exists() else 0.0


def _memory(name: str) -> int:
    """Bytes of anonymous memory."""
    if cgroups.unified():
        return int(_entries(cgroups.ROOT / name / "memory.stat").get("anon", 0))
    return int(_entries(cgroups.ROOT / "memory" / name / "memory.stat").get("total_rss", 0))


def _entries(file: Path) -> dict[str, str]:
    try:
        pairs = (line.split() for line in file.read_text().splitlines())
        return {pair[0]: pair[1] for pair in pairs}
    except FileNotFoundError:
        return {}


def _children(pid: int) -> list[int]:
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


class Traffic:
    """Counts what goes to a TCP port of this machine and comes from it, as the kernel's packet filter sees it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._table = f"strata_bench_{port}"

    def __enter__(self) -> Self:
        rules = f"tcp dport {self._port} counter name up\ntcp sport {self._port} counter name down\n"
        chain = f"chain out {{ type filter hook output priority 0; policy accept;\n{rules}}}"
        _nft(f"table inet {self._table} {{ counter up {{}}\ncounter down {{}}\n{chain}\n}}")
        return self

    def __exit__(self, *_: object) -> None:
        _nft(f"delete table inet {self._table}")

    def bytes(self, direction: str) -> int:
        """Bytes `up` or `down` since the start, headers included."""
        words = _nft(f"list counter inet {self._table} {direction}").split()
        return int(words[words.index("bytes") + 1])


def _nft(text: str) -> str:
    return subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=True).stdout


def process_cpu(pid: int) -> float:
    """Seconds of processor time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HZ


def now() -> float:
    return time.perf_counter()
