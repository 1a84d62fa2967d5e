"""How many random cases a run has, and which: fixtures that a conftest imports."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def effort() -> int:
    """How many times the number of random cases of `make test`: STRATA_EFFORT, which the targets for it set."""
    return int(os.environ.get("STRATA_EFFORT") or 1)


@pytest.fixture(scope="session")
def seed(effort: int) -> int:
    """STRATA_SEED. Without it `make test` has the same cases each time, so that what it says is of the change it tests;
    with more effort a run looks for what nobody thought of. Printed with every result."""
    given = os.environ.get("STRATA_SEED")
    return int(given) if given else 1 if effort == 1 else int.from_bytes(os.urandom(3), "big")
