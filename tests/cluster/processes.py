"""Finding and ending the processes of one cluster, and no others."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cluster import cgroups, errors, identity

MARK = "_init"
"""The argument by which the node's PID 1 is told from all other processes."""


def inits(who: identity.Identity) -> list[int]:
    """The node's PID 1, and the `unshare` that holds it; as the host numbers them."""
    return [pid for pid in everything() if words(pid)[-3:-1] == [MARK, who.name]]


def init(who: identity.Identity) -> int | None:
    """The node's PID 1 as the host numbers it, or None."""
    return next((pid for pid in inits(who) if numbers(pid)[-1:] == ["1"] and len(numbers(pid)) > 1), None)


def members(who: identity.Identity) -> set[int]:
    """Every process in the cluster's network namespace or cgroups, however it came there."""
    try:
        namespace = Path("/run/netns", who.name).stat().st_ino
    except FileNotFoundError:
        namespace = -1
    inside = {pid for pid in everything() if netns(pid) == namespace}
    return (inside | set(cgroups.processes(who.name))) - {os.getpid(), 0}


def kill_all(who: identity.Identity, patience: float = 10.0) -> None:
    """Ends the node: PID 1 first, which takes all others along, then whatever is left.

    Raises:
        errors.ClusterError: some process does not go.
    """
    deadline = time.monotonic() + patience
    while left := set(inits(who)) | members(who):
        if time.monotonic() > deadline:
            raise errors.ClusterError(f"processes of {who.name} do not end after kill -9: {sorted(left)}")
        for pid in inits(who) or left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def everything() -> Iterator[int]:
    """The ids of all processes."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def words(pid: int) -> list[str]:
    """The argv of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def numbers(pid: int) -> list[str]:
    """The ids of a process in each nested process namespace, the outermost first."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])


def netns(pid: int) -> int:
    """The inode of the network namespace of a process; 0 if it is gone or ending."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0
