"""Whether the kernel killed something of this container for want of memory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")


def kills(groups: Path = Path("/proc/self/cgroup"), root: Path = _ROOT) -> int | None:
    """How many processes of the own memory cgroup the kernel has killed for want of memory so far; None where that is
    not told. cgroup-v2.rst "memory.events", cgroup-v1/memory.rst "memory.oom_control"."""
    for file in _counters(groups, root):
        try:
            text = file.read_text()
        except OSError:
            continue
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return None


@functools.cache
def _counters(groups: Path, root: Path) -> list[Path]:
    """Where the counter may be: in a container the own group looks like the root."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if not controllers:
            found += [
                root / inside / "memory.events",
                root / "unified" / inside / "memory.events",
                root / "memory.events",
            ]
        elif "memory" in controllers.split(","):
            found += [root / "memory" / inside / "memory.oom_control", root / "memory" / "memory.oom_control"]
    return found
