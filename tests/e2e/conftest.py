"""What the end-to-end tests stand on: the installed release, a namespace of one's own, and the table of times at the end."""

from __future__ import annotations

import random
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

import cluster
from support import costs, e2e, kubectl

_TIMES = pytest.StashKey[list[tuple[str, e2e.Body]]]()
_COLUMNS = ("queue", "pod start", "fetch", "build", "push", "total")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TIMES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.cluster)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """From apply to Ready, in seconds, as status.metrics tells it. Phases run side by side: they do not add up."""
    if rows := config.stash[_TIMES]:
        terminalreporter.section("seconds from apply to Ready")
        terminalreporter.write_line(f"{'':<34}" + "".join(f"{name:>11}" for name in _COLUMNS))
        for title, metrics in rows:
            terminalreporter.write_line(f"{title:<34}" + "".join(f"{value:>11.2f}" for value in _seconds(metrics)))
    costs.show(terminalreporter)


def _seconds(metrics: e2e.Body) -> tuple[float, ...]:
    phases = metrics.get("phases", {})
    queue = metrics.get("queueSeconds", 0.0)
    parts = (phases.get(name, 0.0) for name in ("fetch", "build", "push"))
    return (queue, metrics.get("podStartSeconds", 0.0), *parts, queue + metrics.get("durationSeconds", 0.0))


@pytest.fixture(scope="session")
def strata() -> kubectl.Kubectl:
    """kubectl for the cluster with the release on it. Without them tests fail and say what to type: none is skipped."""
    try:
        k = kubectl.current()
    except cluster.ClusterError as e:
        _missing(str(e))
    found = k.ask("-n", "strata-system", "rollout", "status", "deployment/strata-operator", "--timeout=60s")
    if found.code:
        _missing(f"Strata is not installed, or its operator is not ready: {found.err.strip() or found.out.strip()}")
    return k


def _missing(why: str) -> NoReturn:
    pytest.fail(f"{why}\nBring it up with:  {e2e.START}", pytrace=False)


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest) -> Callable[[str, e2e.Body], None]:
    """Puts a build's (title, status.metrics) into the table at the end of the run."""
    rows = request.config.stash[_TIMES]
    return lambda title, metrics: rows.append((title, metrics))


@pytest.fixture(scope="session")
def here(strata: kubectl.Kubectl) -> str:
    """The address at which pods reach servers of this process."""
    if strata.where.node_ip is None:
        pytest.skip("pods of another cluster may not reach this machine")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((strata.where.node_ip, 9))
        return str(probe.getsockname()[0])


@pytest.fixture(scope="session")
def ports(strata: kubectl.Kubectl) -> Iterator[int]:
    """Ports at which nodes pull, each one Registry's alone: `next(ports)`."""
    registries = (strata.get("registries.strata.build", "--all-namespaces") or {}).get("items", [])
    taken = {r["spec"].get("managed", {}).get("nodeAccess", {}).get("port") for r in registries}
    return iter(random.sample([port for port in range(5100, 6000) if port not in taken], 100))


@pytest.fixture(scope="module")
def namespaces(strata: kubectl.Kubectl) -> Iterator[Callable[..., e2e.Namespace]]:
    """Makes namespaces that go when the module ends: `namespaces("baseline", "build")`."""
    made: list[str] = []

    def make(level: str = "restricted", stem: str = "e2e", labels: dict[str, str] | None = None) -> e2e.Namespace:
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        meta = {"name": name, "labels": {e2e.POD_SECURITY: level, **(labels or {})}}
        strata("create", "-f", "-", body={"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        made.append(name)
        return e2e.Namespace(strata, name)

    yield make
    if made:
        strata.ask("delete", "namespace", "--wait=false", *made)


@pytest.fixture(scope="module")
def home(namespaces: Callable[..., e2e.Namespace], ports: Iterator[int]) -> e2e.Namespace:
    """A restricted namespace of the module with a Registry `main` that is Ready."""
    return _with_registry(namespaces("restricted"), next(ports))


@pytest.fixture(scope="module")
def baseline(namespaces: Callable[..., e2e.Namespace], ports: Iterator[int]) -> e2e.Namespace:
    """As `home`, where steps of a Dockerfile may run."""
    return _with_registry(namespaces("baseline"), next(ports))


def _with_registry(made: e2e.Namespace, port: int) -> e2e.Namespace:
    made.apply(e2e.registry(port))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture
def namespace(request: pytest.FixtureRequest, namespaces: Callable[..., e2e.Namespace]) -> e2e.Namespace:
    """A new namespace; of another Pod Security level than restricted by `parametrize("namespace", [...], indirect=True)`."""
    return namespaces(getattr(request, "param", "restricted"))
