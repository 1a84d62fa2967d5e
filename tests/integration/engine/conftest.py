from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import strata_build, testbase


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.getuid() != 0:
        pytest.skip("needs root")
    if testbase.busybox() is None:
        pytest.skip("needs busybox (busybox-static)")
    return testbase.write(tmp_path_factory.mktemp("testbase") / "layout")


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory, base: Path) -> strata_build.Builder:
    """One cache for all the builds of a file."""
    return strata_build.Builder(tmp_path_factory.mktemp("builds"), base)
