"""The cgroups of one cluster.

A kubelet removes pod cgroups that it does not know, another kubelet's too: so each cluster has a root of its own.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = "+cpu +cpuset +memory +pids +io"


def unified() -> bool:
    """Whether the host has cgroup v2 only."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """The mounted hierarchies: the one of v2, or each of v1 (links such as cpu -> cpu,cpuacct left out)."""
    if unified():
        return [ROOT]
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted(
        {
            Path(fields[1])
            for fields in mounts
            if fields[2] in ("cgroup", "cgroup2") and fields[1].startswith(f"{ROOT}/")
        }
    )


def make(name: str) -> None:
    """Makes the cluster's cgroup in each hierarchy."""
    for hierarchy in hierarchies():
        own = hierarchy / name
        own.mkdir(exist_ok=True)
        if unified():
            (hierarchy / "cgroup.subtree_control").write_text(CONTROLLERS)
            (own / "cgroup.subtree_control").write_text(CONTROLLERS)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # v1 gives a new cpuset no processor and no memory, and refuses every process until it has some.
            if not unified() and (hierarchy / setting).exists():
                (own / setting).write_text((hierarchy / setting).read_text())


def processes(name: str) -> Iterator[int]:
    """Every process in or below the cluster's cgroups."""
    for hierarchy in hierarchies():
        for folder, _, files in os.walk(hierarchy / name):
            if "cgroup.procs" in files:
                try:
                    yield from map(int, Path(folder, "cgroup.procs").read_text().split())
                except (
                    FileNotFoundError,
                    OSError,
                ):  # removed meanwhile, or a threaded v2 group, whose parent lists the process
                    continue


def remove(name: str, patience: float = 5.0) -> None:
    """Removes the cluster's cgroups, deepest first; the kernel lets a group go only a moment after its last process.

    Raises:
        OSError: a group is still busy after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            remove_one(folder, deadline)


def remove_one(folder: str, deadline: float) -> None:
    """Removes one empty group, again and again until the deadline (of the monotonic clock)."""
    while True:
        try:
            return os.rmdir(folder)
        except FileNotFoundError:
            return None
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
