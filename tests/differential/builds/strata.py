"""`strata build` as people call it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from differential.builds import folders, images
from differential.builds.cases import Case
from differential.builds.site import Site

BUILDER = Path(__file__).parents[3] / "builder"
EPOCH = 1_600_000_000
"""SOURCE_DATE_EPOCH of every build, so that times can be compared."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made of a case: an image, or the words of its refusal."""

    image: images.Image | None
    said: str


@dataclass
class Strata:
    """One cache for all of a site's cases. `known` keeps layers that were read before."""

    site: Site
    known: dict[str, images.Layer] = field(default_factory=dict)

    @contextlib.contextmanager
    def archive(self, case: Case, *flags: str) -> Iterator[tuple[Path, images.Image]]:
        """The image of a case, built with further flags, as an OCI archive and read back."""
        with self.site.written(case) as (work, made):
            built = self.build(made, work / "strata.tar", [*folders.flags(case, made)[0], *flags])
            if built.image is None:
                raise AssertionError(f"strata build refused {case.name}: {built.said}")
            yield work / "strata.tar", built.image

    def build(self, made: folders.Folders, archive: Path, flags: Sequence[str]) -> Built:
        """Raises AssertionError if it crashes."""
        environment = {**os.environ, "PYTHONPATH": str(BUILDER), "STRATA_CACHE_DIR": str(self.site.folder / "cache")}
        argv = command(self.site, made, archive, flags)
        environment |= {"SOURCE_DATE_EPOCH": str(EPOCH)}
        ended = subprocess.run(argv, env=environment, capture_output=True, text=True, errors="replace", check=False)
        return read(ended, archive, self.known)


def command(site: Site, made: folders.Folders, archive: Path, flags: Sequence[str]) -> list[str]:
    """The command line that builds a case into an OCI archive."""
    mirror = [f"--registry-mirror={upstream}=http://{site.registry}" for upstream in site.upstreams]
    named = ["-f", str(made.dockerfile), "-o", f"type=oci,dest={archive}"]
    return [sys.executable, "-m", "strata_builder.cli", "build", *mirror, *named, *flags, str(made.context)]


def read(ended: subprocess.CompletedProcess[str], archive: Path, known: dict[str, images.Layer]) -> Built:
    """What came of `command`. Raises AssertionError if it crashed."""
    if "Traceback" in ended.stderr:
        raise AssertionError(f"strata build crashed:\n{ended.stderr}")
    return Built(None if ended.returncode else images.read(archive, known), ended.stderr)
