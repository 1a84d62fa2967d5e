"""What `strata build` makes on this machine of the same contents as a campaign's builds."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import kubectl
from support.campaign import wishes


class References:
    """The digest of each of the contents; those of branches that do not move come from before the faults."""

    def __init__(self, folder: Path, mirror: str) -> None:
        self.known: dict[wishes.Contents, str] = {}
        self._folder = folder
        self._mirror = mirror
        self._bases: set[wishes.Contents] = set()

    def compute(self, wanted: Iterable[wishes.Contents]) -> None:
        """Bases first, which are kept for what is made from them."""
        missing = {one for made in wanted for one in made.stack} - self.known.keys()
        self._bases |= {one.base.contents for one in missing if one.base}
        with ThreadPoolExecutor(4) as pool:
            for _, found in itertools.groupby(sorted(missing, key=_order), key=lambda one: len(one.stack)):
                layer = list(found)
                self.known |= dict(zip(layer, pool.map(self._built, layer), strict=True))

    def _built(self, made: wishes.Contents) -> str:
        context = self._folder / made.key
        context.mkdir()
        for name, text in {**made.files, "Dockerfile": made.dockerfile}.items():
            (context / name).write_text(text)
        argv = [sys.executable, "-m", "strata_builder.cli", "build", "--quiet", *self._output(made)]
        argv += [f"--registry-mirror=docker.io={self._mirror}", *self._from(made), str(context)]
        own = {"SOURCE_DATE_EPOCH": str(wishes.EPOCH), "STRATA_CACHE_DIR": str(self._folder / "cache")}
        environment = {**os.environ, "PYTHONPATH": str(kubectl.CHECKOUT / "builder"), **own}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _output(self, made: wishes.Contents) -> list[str]:
        kept = made in self._bases
        return ["-o", f"type=oci,dest={self._layout(made)},tar=false" if kept else "type=cacheonly"]

    def _from(self, made: wishes.Contents) -> list[str]:
        """The base, as it was built here."""
        base = made.base
        return ["--build-context", f"{base.name}=oci-layout://{self._layout(base.contents)}"] if base else []

    def _layout(self, made: wishes.Contents) -> Path:
        return self._folder / f"{made.key}.image"


def _order(made: wishes.Contents) -> tuple[int, str]:
    return len(made.stack), made.key
