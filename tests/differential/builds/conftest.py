"""One BuildKit, one registry and one cache for all builds of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from differential.builds import bench, programs
from support import registry_process, testbase


@pytest.fixture(scope="session")
def everything() -> bool:
    """Whether `make test-differential` runs, and not the sample of `make test`."""
    return "STRATA_EFFORT" in os.environ


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory, everything: bool) -> Iterator[bench.Bench]:
    if os.getuid() != 0:
        pytest.skip("needs root: steps run in both builders")
    if not everything and programs.cached() is None:
        pytest.skip("BuildKit is not compiled yet, which takes minutes: `make test-differential` does it")
    registry = registry_process.find_binary()
    if registry is None or testbase.busybox() is None:
        pytest.fail(
            "needs the cluster's programs (make cluster-up) and busybox (apt-get install busybox-static)", pytrace=False
        )
    with bench.Bench(tmp_path_factory.mktemp("builds"), registry.parent) as running:
        yield running
