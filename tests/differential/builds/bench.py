"""Both builders side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from differential.builds import compare, folders, images, strata
from differential.builds.cases import Case
from differential.builds.oracle import Oracle, Refused
from differential.builds.strata import EPOCH, Built

OUTCOMES = {
    (True, True): "both build",
    (True, False): "only Strata builds",
    (False, True): "only BuildKit builds",
    (False, False): "both refuse",
}


@dataclass
class Bench:
    """`seconds` adds up what each builder took, and `said` is what both wrote about the last case."""

    strata: strata.Strata
    seconds: dict[str, float] = field(default_factory=lambda: {"strata": 0.0, "buildkit": 0.0})
    said: str = ""

    def __enter__(self) -> Self:
        site = self.strata.site
        self._oracle = Oracle(site.registry, site.node / "runc", site.upstreams)
        self._oracle.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._oracle.__exit__()

    @property
    def address(self) -> str:
        """Where BuildKit's daemon listens."""
        return self._oracle.address

    def compare(self, case: Case) -> list[str]:
        """The differences between both images, or between their refusals; empty where Strata does as BuildKit."""
        with self.strata.site.written(case) as (work, made):
            return self.compare_folders(case, made, work)

    def compare_folders(self, case: Case, made: folders.Folders, work: Path) -> list[str]:
        """As `compare`, of folders that are there already; `work` is for the images."""
        ours, theirs = folders.flags(case, made)
        with self._timed("strata"):
            mine = self.strata.build(made, work / "strata.tar", ours)
        buildkit = self._buildkit(made, work, theirs)
        self.said = f"--- strata said\n{mine.said[-1500:]}\n--- buildctl said\n{buildkit.said[-1500:]}"
        return _judge(case, mine, buildkit)

    def _buildkit(self, made: folders.Folders, work: Path, flags: list[str]) -> Built:
        archive = work / "buildkit.tar"
        epoch = ["--opt", f"build-arg:SOURCE_DATE_EPOCH={EPOCH}"]
        try:
            with self._timed("buildkit"):
                said = self._oracle.build(made.dockerfile, made.context, archive, [*epoch, *flags])
        except Refused as refused:
            return Built(None, str(refused))
        return Built(images.read(archive, self.strata.known), said)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] += time.monotonic() - start


def _judge(case: Case, mine: Built, theirs: Built) -> list[str]:
    refusal = case.setting("refused")
    if refusal is None and mine.image and theirs.image:
        own = case.epoch or ""
        return compare.differences(mine.image, theirs.image, int(own) if own.isdigit() else EPOCH)
    if refusal is not None and not mine.image and not theirs.image:
        return [] if refusal in mine.said else [f"outcome: Strata does not say {refusal!r}"]
    return [f"outcome: {OUTCOMES[bool(mine.image), bool(theirs.image)]}"]
