from collections.abc import Iterator
from pathlib import Path

import pytest

from support import controlplane, gitops, go_programs, registry_process


@pytest.fixture(scope="session")
def applier() -> str:
    """The apply engine."""
    try:
        return gitops.applier()
    except go_programs.Missing as e:
        pytest.fail(str(e), pytrace=False)


@pytest.fixture(scope="session")
def one_world(applier: str) -> Iterator[gitops.World]:
    """It takes seconds to begin: all tests of a process share it, each in namespaces of its own."""
    programs, registry = controlplane.find_binaries(), registry_process.find_binary()
    if programs is None or registry is None:
        pytest.skip("the cluster's programs are not compiled yet: make cluster-up")
    with gitops.world(programs, registry) as made:
        yield made


@pytest.fixture
def world(one_world: gitops.World) -> Iterator[gitops.World]:
    """The world, in which nothing is held and nothing fails at first."""
    yield one_world
    one_world.node.holds.clear()
    one_world.node.fails.clear()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[gitops.Source]:
    """A git repository of the test's own."""
    with gitops.source(tmp_path) as made:
        yield made
