"""One registry, one cache, one BuildKit and one container runtime for all builds of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import bench
from differential.builds.site import Site
from differential.builds.strata import Strata
from support import bundles, unprivileged


@pytest.fixture(scope="session")
def strata(tmp_path_factory: pytest.TempPathFactory, registry: Path) -> Iterator[Strata]:
    """Strata alone."""
    with Site(tmp_path_factory.mktemp("builds"), registry.parent) as site:
        yield Strata(site)


@pytest.fixture(scope="session")
def builders(strata: Strata, buildkit: None) -> Iterator[bench.Bench]:
    """Strata and BuildKit."""
    with bench.Bench(strata) as running:
        yield running


@pytest.fixture(scope="session")
def rootless_cache(strata: Strata) -> Path:
    """A cache of the user without rights."""
    folder = strata.site.folder / "rootless-cache"
    folder.mkdir()
    os.chown(folder, unprivileged.USER, unprivileged.USER)
    return folder


@pytest.fixture(scope="session")
def runtime(strata: Strata) -> Iterator[bundles.Bundles]:
    """Of the containers in which steps of a pod run."""
    folder = strata.site.folder / "bundles"
    folder.mkdir()
    with bundles.Bundles(strata.site.node / "runc", folder) as running:
        yield running
