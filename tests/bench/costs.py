"""What a build costs: the processor and memory of a control group, the room that it takes, and what a registry sees."""

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

from bench import scratch
from cluster import cgroups

_LOOK = 0.02  # seconds between two looks at what is in use
_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one build: seconds, bytes, counts.

    `memory` and `disk` are the most that was in use at once, of the programs themselves and of the builder's folder.
    `stored` are the bytes of the image's own layers (not the base's) as the registry has them, `grown` what its storage
    grew by, `state` what the builder's folder holds afterwards. `moved` are the bytes of layers that the registry had
    before, the base's and unchanged ones of the last image, and that were fetched or sent nevertheless.
    """

    wall: float
    cpu: float
    memory: int
    up: int
    down: int
    requests: int
    registry_cpu: float
    stored: int = 0
    disk: int = 0
    moved: int = 0
    grown: int = 0
    state: int = 0


@dataclass
class Group:
    """A control group in which programs run, and what they have used; `also` are further ones of the same builder,
    `home` is the folder, on a file system of its own, in which it keeps all that it writes."""

    name: str
    home: Path
    also: Sequence[str] = ()
    memory: int = field(default=0, init=False)
    disk: int = field(default=0, init=False)

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
        """Within, `memory` becomes the most memory of programs themselves (not of files on tmpfs) that was seen, `disk`
        the most bytes in `home`."""
        self.memory = self.disk = 0
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK):
                self._look()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._look()

    def _look(self) -> None:
        self.memory = max(self.memory, sum(map(_memory, (self.name, *self.also))))
        self.disk = max(self.disk, scratch.used(self.home))

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


def process_cpu(pid: int) -> float:
    """Seconds of processor time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HZ


def now() -> float:
    return time.perf_counter()
