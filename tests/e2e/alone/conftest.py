"""What tests stand on that break something of the whole release: the operator's process, the node, registries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import e2e, faults, joblog


@pytest.fixture(scope="module")
def operator(strata) -> Iterator[faults.Operator]:
    """The operator, for tests that stop or kill it; it runs again afterwards."""
    if strata.where.netns is None:
        pytest.skip("the node of another cluster is not ours to meddle with")
    yield faults.Operator(strata)
    strata(*faults.SYSTEM, "rollout", "status", faults.DEPLOYMENT, "--timeout=90s")


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """A namespace where steps may run, with a Registry from which no node pulls."""
    made = namespaces("baseline", "faults")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture(scope="module")
def jobs(home, tmp_path_factory) -> Iterator[joblog.JobLog]:
    """Every Job that comes in `home`."""
    with joblog.JobLog(home, tmp_path_factory.mktemp("jobs") / "log") as log:
        yield log
