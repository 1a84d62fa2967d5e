"""How much a run does, which random cases it has, and what is needed to run steps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from differential.builds import programs
from support import registry_process, testbase
from support.effort import effort, seed

__all__ = ["effort", "seed"]


@pytest.fixture(scope="session")
def everything() -> bool:
    """Whether `make test-differential` runs, and not the sample of `make test`."""
    return "STRATA_EFFORT" in os.environ


@pytest.fixture(scope="session")
def registry() -> Path:
    """The program of the registry, beside which `runc` lies; skips or fails where steps cannot run."""
    if os.getuid() != 0:
        pytest.skip("needs root: steps run")
    found = registry_process.find_binary()
    if found is None or testbase.busybox() is None:
        pytest.fail(
            "needs the cluster's programs (make cluster-up) and busybox (apt-get install busybox-static)", pytrace=False
        )
    return found


@pytest.fixture(scope="session")
def buildkit(everything: bool) -> None:
    """Skips where BuildKit would have to be compiled for a sample."""
    if not everything and programs.BUILDKIT.cached() is None:
        pytest.skip("BuildKit is not compiled yet, which takes minutes: `make test-differential` does it")
