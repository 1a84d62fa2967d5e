"""What the end-to-end tests stand on: the installed release, a namespace of one's own, and the table of times at the end."""

from __future__ import annotations

import os
import random
import socket
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import NoReturn

import pytest

import cluster
from cluster import folders
from support import costs, e2e, joblog, kubectl, turns

_TURN = pytest.StashKey[turns.Turn]()
_TIMES = "seconds from apply to Ready"
_COLUMNS = ("queue", "pod start", "fetch", "build", "push", "total")


def pytest_configure(config: pytest.Config) -> None:
    try:
        name = cluster.current().name
    except cluster.ClusterError:
        return  # the fixture `strata` says what is missing
    locks = folders.cache() / "locks"
    locks.mkdir(exist_ok=True)
    config.stash[_TURN] = turns.Turn(locks / f"release-on-{name.replace('/', '-')}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """A file of end-to-end tests has the release from its first test to its last; a test that disturbs it has it alone."""
    turn = item.config.stash.get(_TURN, None)
    if turn is None or not item.get_closest_marker("cluster"):
        return (yield)
    turn.take(alone=_disturbs(item))
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path != item.path or _disturbs(nextitem) != _disturbs(item):
            turn.end()


def _disturbs(item: pytest.Item) -> bool:
    return item.get_closest_marker("disturbs") is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """From apply to Ready, in seconds, as status.metrics tells it. Phases run side by side: they do not add up."""
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind))
    rows = [row for report in reports if report.when == "call" for key, row in report.user_properties if key == _TIMES]
    if rows:
        terminalreporter.section(_TIMES)
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


@pytest.fixture
def times(record_property: Callable[[str, object], None]) -> Callable[[str, e2e.Body], None]:
    """Puts a build's (title, status.metrics) into the table at the end of the run, through the test's report."""
    return lambda title, metrics: record_property(_TIMES, (title, metrics))


@pytest.fixture(scope="session")
def here(strata: kubectl.Kubectl) -> str:
    """The address at which pods reach servers of this process."""
    if strata.where.node_ip is None:
        pytest.skip("pods of another cluster may not reach this machine")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((strata.where.node_ip, 9))
        return str(probe.getsockname()[0])


@pytest.fixture(scope="session")
def own_node(strata: kubectl.Kubectl) -> None:
    """For tests that meddle with processes and packets of the node."""
    if strata.where.netns is None:
        pytest.skip("the node of another cluster is not ours to meddle with")


@pytest.fixture(scope="session")
def ports(strata: kubectl.Kubectl) -> Iterator[int]:
    """Ports at which nodes pull, each one Registry's alone: `next(ports)`."""
    registries = (strata.get("registries.strata.build") or {}).get("items", [])
    taken = {r["spec"].get("managed", {}).get("nodeAccess", {}).get("port") for r in registries}
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = range(5100 + worker, 6000, workers)
    return (port for port in random.sample(own, len(own)) if port not in taken)


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


@pytest.fixture(scope="module")
def jobs(home: e2e.Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[joblog.JobLog]:
    """Every Job that comes in `home`."""
    with joblog.JobLog(home, tmp_path_factory.mktemp("jobs") / "log") as log:
        yield log


def _with_registry(made: e2e.Namespace, port: int) -> e2e.Namespace:
    made.apply(e2e.registry(port))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture
def namespace(request: pytest.FixtureRequest, namespaces: Callable[..., e2e.Namespace]) -> e2e.Namespace:
    """A new namespace; of another Pod Security level than restricted by `parametrize("namespace", [...], indirect=True)`."""
    return namespaces(getattr(request, "param", "restricted"))
