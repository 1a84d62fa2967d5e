"""What a process has used, for metrics."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

_PEAK: Final = Path("/sys/fs/cgroup/memory.peak")  # cgroup v2, since Linux 5.19; of the container


def peak_memory() -> int:
    """Bytes: of the whole container where the kernel tells, else of this process or its largest child."""
    try:
        return int(_PEAK.read_text())
    except (OSError, ValueError):
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return max(resource.getrusage(one).ru_maxrss for one in who) * 1024
