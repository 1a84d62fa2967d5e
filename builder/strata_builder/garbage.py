"""How often Python looks for garbage that refers to itself."""

from __future__ import annotations

import gc
from typing import Final

_ALLOCATIONS: Final = 100_000


def collect_seldom() -> None:
    """For a process that lives as long as one build: it makes entries by the million and hardly a cycle.

    At Python's own pace every 700 new objects are looked through, a tenth of the time that a tree of small files takes.
    """
    gc.set_threshold(_ALLOCATIONS, 20, 20)
