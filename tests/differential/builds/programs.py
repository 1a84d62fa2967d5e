"""Go programs beside which Strata is tested, compiled from the modules beside this folder and cached under a hash of each."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster import binaries, folders, locks, progress, toolchain


@dataclass(frozen=True, slots=True)
class Programs:
    """`packages` of the Go module in the folder `name`; compiling them takes `expected`."""

    name: str
    packages: tuple[str, ...]
    expected: str

    @property
    def module(self) -> Path:
        return Path(__file__).parents[1] / self.name

    def cached(self) -> Path | None:
        """The folder of the compiled programs, or None where `ensure` would have to compile them."""
        target = self._target(toolchain.find())
        return target if target.exists() else None

    def ensure(self) -> Path:
        """The folder with the programs; compiles them if it is not there.

        Raises:
            cluster.errors.ClusterError: they cannot be compiled.
        """
        go = toolchain.find()
        target = self._target(go)
        with locks.held(self.name):
            if not target.exists():
                toolchain.install(go)
                self._compile(go, target)
        return target

    def _target(self, go: toolchain.Go) -> Path:
        digest = hashlib.sha256(go.version.encode())
        for name in ("go.mod", "go.sum"):
            digest.update(hashlib.sha256((self.module / name).read_bytes()).digest())
        return folders.cache() / "bin" / f"{self.name}-{digest.hexdigest()[:16]}"

    def _compile(self, go: toolchain.Go, target: Path) -> None:
        names = tuple(package.rpartition("/")[2] for package in self.packages)
        build = binaries.Build(self.module, self.packages, names, (), self.expected)
        unfinished = target.with_name(f".{target.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with progress.step(f"compiling {' and '.join(names)} of the differential tests, once", self.expected):
            # The module may ask for a newer Go than the cluster's: then go fetches that one from its module proxy.
            binaries.compile_one(go, build, unfinished, GOTOOLCHAIN="auto")
        unfinished.rename(target)


BUILDKIT = Programs(
    "buildkit",
    ("github.com/moby/buildkit/cmd/buildctl", "github.com/moby/buildkit/cmd/buildkitd"),
    "3 minutes on 2 processors",
)
CRANE = Programs("crane", ("github.com/google/go-containerregistry/cmd/crane",), "half a minute on 2 processors")
