"""One registry, one cache and one BuildKit for all builds of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import bench
from differential.builds.site import Site
from differential.builds.strata import Strata


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
