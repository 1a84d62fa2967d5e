"""Both builders side by side, with the registry and the file server that they share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from differential.builds import bases, compare, folders, images
from differential.builds.cases import Case
from differential.builds.oracle import Oracle, Refused
from support.file_server import FileServer
from support.registry_process import RegistryProcess

BUILDER = Path(__file__).parents[3] / "builder"
EPOCH = 1_600_000_000
"""SOURCE_DATE_EPOCH of every build, so that times can be compared."""

OUTCOMES = {
    (True, True): "both build",
    (True, False): "only Strata builds",
    (False, True): "only BuildKit builds",
    (False, False): "both refuse",
}


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made of a case: an image, or the words of its refusal."""

    image: images.Image | None
    said: str


@dataclass
class Bench:
    """`folder` is scratch; `node` holds the programs `registry` and `runc`. `seconds` adds up what each builder
    took, and `said` is what both wrote about the last case."""

    folder: Path
    node: Path
    seconds: dict[str, float] = field(default_factory=lambda: {"strata": 0.0, "buildkit": 0.0})
    said: str = ""

    def __enter__(self) -> Self:
        self._known: dict[str, images.Layer] = {}
        with contextlib.ExitStack() as stack:
            self._registry = stack.enter_context(RegistryProcess(self.node / "registry"))
            self._files = stack.enter_context(FileServer({}))
            bases.push_all(self._registry.host, self.folder / "testbase")
            self._oracle = stack.enter_context(Oracle(self._registry.host, self.node / "runc"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def compare(self, case: Case) -> list[str]:
        """The differences between both images, or between their refusals; empty where Strata does as BuildKit."""
        with self._written(case) as (work, made):
            mine, theirs = folders.flags(case, made)
            strata = self._strata(made, work / "strata.tar", mine)
            buildkit = self._buildkit(made, work, theirs)
            self.said = f"--- strata said\n{strata.said[-1500:]}\n--- buildctl said\n{buildkit.said[-1500:]}"
            return _judge(case, strata, buildkit)

    @contextlib.contextmanager
    def archive(self, case: Case, *flags: str) -> Iterator[tuple[Path, images.Image]]:
        """Strata's image of a case alone, with further flags, as an OCI archive and read back."""
        with self._written(case) as (work, made):
            built = self._strata(made, work / "strata.tar", [*folders.flags(case, made)[0], *flags])
            if built.image is None:
                raise AssertionError(f"strata build refused {case.name}: {built.said}")
            yield work / "strata.tar", built.image

    @contextlib.contextmanager
    def _written(self, case: Case) -> Iterator[tuple[Path, folders.Folders]]:
        work = self.folder / case.name.replace("/", "-")
        try:
            made = folders.write(case, work, self._files.url)
            self._files.answers = dict(folders.served(case))
            yield work, made
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _strata(self, made: folders.Folders, archive: Path, flags: list[str]) -> Built:
        """`strata build` as people call it."""
        mirror = ["--registry-mirror", f"http://{self._registry.host}"]
        named = ["-f", str(made.dockerfile), "-o", f"type=oci,dest={archive}"]
        argv = [sys.executable, "-m", "strata_builder.cli", "build", *mirror, *named, *flags, str(made.context)]
        cache = {"STRATA_CACHE_DIR": str(self.folder / "cache"), "SOURCE_DATE_EPOCH": str(EPOCH)}
        environment = {**os.environ, "PYTHONPATH": str(BUILDER), **cache}
        with self._timed("strata"):
            ended = subprocess.run(argv, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if "Traceback" in ended.stderr:
            raise AssertionError(f"strata build crashed:\n{ended.stderr}")
        return Built(None if ended.returncode else images.read(archive, self._known), ended.stderr)

    def _buildkit(self, made: folders.Folders, work: Path, flags: list[str]) -> Built:
        archive = work / "buildkit.tar"
        epoch = ["--opt", f"build-arg:SOURCE_DATE_EPOCH={EPOCH}"]
        try:
            with self._timed("buildkit"):
                said = self._oracle.build(made.dockerfile, made.context, archive, [*epoch, *flags])
        except Refused as refused:
            return Built(None, str(refused))
        return Built(images.read(archive, self._known), said)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] += time.monotonic() - start


def _judge(case: Case, mine: Built, theirs: Built) -> list[str]:
    refusal = case.setting("refused")
    if refusal is None and mine.image and theirs.image:
        return compare.differences(mine.image, theirs.image, EPOCH)
    if refusal is not None and not mine.image and not theirs.image:
        return [] if refusal in mine.said else [f"outcome: Strata does not say {refusal!r}"]
    return [f"outcome: {OUTCOMES[bool(mine.image), bool(theirs.image)]}"]
