"""One registry, one cache and one BuildKit for all builds of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from differential.builds import bench, programs
from differential.builds.site import Site
from differential.builds.strata import Strata
from support import registry_process, testbase


@pytest.fixture(scope="session")
def everything() -> bool:
    """Whether `make test-differential` runs, and not the sample of `make test`."""
    return "STRATA_EFFORT" in os.environ


@pytest.fixture(scope="session")
def strata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strata]:
    """Strata alone."""
    if os.getuid() != 0:
        pytest.skip("needs root: steps run")
    registry = registry_process.find_binary()
    if registry is None or testbase.busybox() is None:
        pytest.fail(
            "needs the cluster's programs (make cluster-up) and busybox (apt-get install busybox-static)", pytrace=False
        )
    with Site(tmp_path_factory.mktemp("builds"), registry.parent) as site:
        yield Strata(site)


@pytest.fixture(scope="session")
def builders(strata: Strata, everything: bool) -> Iterator[bench.Bench]:
    """Strata and BuildKit."""
    if not everything and programs.BUILDKIT.cached() is None:
        pytest.skip("BuildKit is not compiled yet, which takes minutes: `make test-differential` does it")
    with bench.Bench(strata) as running:
        yield running
