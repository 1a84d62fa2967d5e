"""How large a context may be, counted while it arrives."""

from __future__ import annotations

import os
from pathlib import Path

from strata_builder import errors


class Budget:
    """So many bytes, and no more than `entries` names, which cost space too."""

    def __init__(self, limit: int, *, entries: int = 5_000_000, what: str = "the context") -> None:
        self.limit = limit
        self._left = limit
        self._entries = entries
        self._what = what

    def take(self, count: int) -> None:
        """Raises InvalidSpec once more was taken than there is."""
        self._left -= count
        if self._left < 0:
            raise self.exceeded()

    def entry(self) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise errors.InvalidSpec(f"{self._what} has too many files")

    def check(self, total: int) -> None:
        """Raises InvalidSpec if `total` bytes, counted elsewhere, are too many."""
        if total > self.limit:
            raise self.exceeded()

    def exceeded(self) -> errors.InvalidSpec:
        return errors.InvalidSpec(
            f"{self._what} is larger than {human(self.limit)} ({self.limit} bytes)",
            hint="point the source at a sub-folder, take large files out of it, or have the limit of the chart"
            " (builds.contextLimit) raised",
        )


def human(size: int) -> str:
    """`size` in the largest binary unit of which it has at least one: 2 GiB, 1.5 MiB."""
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f}".removesuffix(".0") + f" {units[0]}"


def size_of(folder: Path) -> int:
    """The bytes of the files below `folder` now; what vanishes meanwhile counts nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total
