"""One reference program for the run; without Go the tests fail and say what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support import dockerfile_reference


@pytest.fixture(scope="session")
def reference() -> Iterator[dockerfile_reference.Reference]:
    running = dockerfile_reference.Reference()
    yield running
    running.close()


@pytest.fixture(scope="session")
def seed() -> int:
    """STRATA_SEED, or one that differs from run to run; printed with every result."""
    return int(os.environ.get("STRATA_SEED") or int.from_bytes(os.urandom(3), "big"))


@pytest.fixture(scope="session")
def effort() -> int:
    """How many times the number of random cases of `make test`: STRATA_EFFORT, which `make test-differential` sets."""
    return int(os.environ.get("STRATA_EFFORT") or 1)
