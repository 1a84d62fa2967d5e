"""BuildKit's daemon and client, compiled from the Go module beside this folder and cached under a hash of it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from cluster import binaries, folders, locks, progress, toolchain

MODULE = Path(__file__).parents[1] / "buildkit"
BUILDKIT = "github.com/moby/buildkit"
NAMES = ("buildctl", "buildkitd")


def cached() -> Path | None:
    """The folder of the compiled programs, or None where `ensure` would have to compile them."""
    target = _target(toolchain.find())
    return target if target.exists() else None


def ensure() -> Path:
    """The folder with `buildctl` and `buildkitd`; compiles them if it is not there.

    Raises:
        cluster.errors.ClusterError: they cannot be compiled.
    """
    go = toolchain.find()
    target = _target(go)
    with locks.held("buildkit"):
        if not target.exists():
            toolchain.install(go)
            _compile(go, target)
    return target


def _target(go: toolchain.Go) -> Path:
    digest = hashlib.sha256(go.version.encode())
    for name in ("go.mod", "go.sum"):
        digest.update(hashlib.sha256((MODULE / name).read_bytes()).digest())
    return folders.cache() / "bin" / f"buildkit-{digest.hexdigest()[:16]}"


def _compile(go: toolchain.Go, target: Path) -> None:
    packages = tuple(f"{BUILDKIT}/cmd/{name}" for name in NAMES)
    build = binaries.Build(MODULE, packages, NAMES, (), "3 minutes on 2 processors")
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with progress.step("compiling BuildKit, the oracle of the differential tests, once", build.expected):
        # The module may ask for a newer Go than the cluster's: then go fetches that one from its module proxy.
        binaries.compile_one(go, build, unfinished, GOTOOLCHAIN="auto")
    unfinished.rename(target)
