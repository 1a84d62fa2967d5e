"""What tests stand on that break something of the whole release: the operator's process, the node, registries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import e2e, faults


@pytest.fixture(scope="module")
def operator(strata, own_node) -> Iterator[faults.Operator]:
    """The operator, for tests that stop or kill it; it runs again afterwards."""
    yield faults.Operator(strata)
    strata(*faults.SYSTEM, "rollout", "status", faults.DEPLOYMENT, "--timeout=90s")


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """A namespace where steps may run, with a Registry from which no node pulls."""
    made = namespaces("baseline", "faults")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made
