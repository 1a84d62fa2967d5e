"""The operator of another commit is replaced by this one while builds run: nothing starts again, nothing is built anew.

STRATA_UPGRADE_FROM says from which commit; if it is not set, the one before the newest change of what is upgraded.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from strata_operator import conditions
from support import commits, e2e, faults, git_server, helm_chart, kubectl, outside, release, waiting

SMALL = "FROM busybox:1.36\nLABEL a=b\n"
RUNNING = ("running", "in-place")
#: What would have another build if the new operator took anything for moved, or its time for come.
TRIGGERED = ("polled", "scheduled", "based")
LEFT = ("built", "failed", "suspended", *TRIGGERED)
pytestmark = pytest.mark.skipif(
    not faults.LONG, reason="`make test-faults` runs it; tests/integration/operator has it in small"
)
PORT = 18091


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    return commits.unpacked(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def repository() -> Iterator[git_server.Repository]:
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        made = git_server.Repository.make(Path(path))
        made.commit({"Dockerfile": "FROM scratch\nCOPY said /\n", "said": "one\n"})
        yield made


@pytest.fixture(scope="module")
def server(repository, here) -> Iterator[git_server.HttpServer]:
    with git_server.HttpServer(repository.bare.parent, host=here) as running:
        yield running


def body(name: str) -> e2e.Body:
    if name in RUNNING:
        return e2e.image_build(name, waiting.dockerfile(), isolation="InPlace" if name == "in-place" else "Auto")
    if name == "failed":
        return e2e.image_build(name, "FROM busybox:1.36\nRUN exit 3\n")
    return e2e.image_build(name, SMALL, **({"suspend": True} if name == "suspended" else {}))


def triggered(home: e2e.Namespace, server: git_server.HttpServer) -> list[e2e.Body]:
    """The ImageBuilds TRIGGERED; one of them is based on `built`."""
    git = {"url": f"{server.url}/app.git", "revision": "main"}
    host = home.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    above = f"FROM {host}/{home.name}/built\nLABEL above=1\n"
    leap_day = {"schedule": {"cron": "0 0 29 2 *"}}
    return [
        e2e.image_build("polled", source={"git": git}, triggers={"git": {"pollInterval": "10s"}}),
        e2e.image_build("scheduled", SMALL, triggers=leap_day),
        e2e.image_build("based", above, triggers={"baseImages": {"pollInterval": "1m"}}),
    ]


KEPT = ("builds", "digest", "inputs", "tags", "lastSuccess", "source", "baseImages", "nextScheduleTime")


def mark(home: e2e.Namespace, name: str) -> dict[str, object]:
    """What an upgrade must leave as it is."""
    status = home.status(name)
    current = status.get("current", {})
    kept: dict[str, object] = {key: status.get(key) for key in KEPT}
    kept |= {key: current.get(key) for key in ("number", "attempt", "job", "inputs", "reason")}
    return kept | {"jobs": home.jobs(name), "pods": sorted(pod["metadata"]["uid"] for pod in home.pods(name))}


class Looks:
    """Looks of operators at the source and the base image of TRIGGERED, from here on."""

    def __init__(self, home: e2e.Namespace, server: git_server.HttpServer) -> None:
        self._home, self._server = home, server
        self._asked, self._since = len(server.log), conditions.rfc3339(math.ceil(time.time()))

    def until_at_both(self) -> None:
        """Wait until there were some at each."""
        self._home.until("looks at what triggers builds", self._made, seconds=120)

    def _made(self) -> bool:
        log = self._home("logs", f"deployment/strata-{e2e.REGISTRY}", f"--since-time={self._since}")
        return len(self._server.log) > self._asked and f"/v2/{self._home.name}/built/manifests/latest" in log


class Upgrade:
    """Marks of every ImageBuild before and after another operator took over."""

    def __init__(self, home: e2e.Namespace) -> None:
        self.home = home
        self.before: dict[str, dict[str, object]] = {}
        self.after: dict[str, dict[str, object]] = {}


@pytest.fixture(scope="module")
def upgrade(strata, own_node, home, before, server, tmp_path_factory) -> Iterator[Upgrade]:
    folder = tmp_path_factory.mktemp("operators")
    config = outside.direct(strata, folder)
    given = outside.settings(strata) | {"STRATA_RESYNC_SECONDS": "3"}
    old, new = (
        outside.Operator(strata.where, folder, config, given, PORT, name=name, identity=name, sources=sources)
        for name, sources in (("old", before), ("new", kubectl.CHECKOUT))
    )
    found = Upgrade(home)
    with contextlib.ExitStack() as stack:
        stack.callback(_crds, strata, kubectl.CHECKOUT)
        stack.enter_context(outside.instead(strata))
        stack.callback(old.close)
        stack.callback(new.close)
        _crds(strata, before)
        old.start()
        _bring_about(home, server)
        found.before = {name: mark(home, name) for name in (*RUNNING, *LEFT)}
        old.end()
        looks = Looks(home, server)
        _crds(strata, kubectl.CHECKOUT)
        new.start()
        _has_looked_at_all(new)
        looks.until_at_both()
        found.after = {name: mark(home, name) for name in (*RUNNING, *LEFT)}
        yield found


def _crds(k: kubectl.Kubectl, checkout: Path) -> None:
    for file in sorted((checkout / "crds").glob("*.yaml")):
        k("apply", "--server-side", "--force-conflicts", "-f", str(file))


def _bring_about(home: e2e.Namespace, server: git_server.HttpServer) -> None:
    plain = [body(name) for name in (*RUNNING, *LEFT) if name not in TRIGGERED]
    home.apply({"apiVersion": "v1", "kind": "List", "items": plain})
    home.wait("built")
    home.apply(*triggered(home, server))
    home.wait("failed", "Stalled")
    home.wait("suspended", "Suspended")
    for name in TRIGGERED:
        home.wait(name)
    waiting.until_running(home, *RUNNING)
    for name in RUNNING:
        home.until("its status", lambda name=name: home.status(name)["current"]["phase"] == "Running", name=name)


def _has_looked_at_all(operator: outside.Operator) -> None:
    """It acts, and has listed and looked at every object twice since."""

    def looks() -> float:
        counts = [line for line in operator.metrics().splitlines() if "strata_reconcile_total{" in line]
        return sum(float(line.rpartition(" ")[2]) for line in counts if 'kind="imagebuild"' in line)

    total = len((*RUNNING, *LEFT))
    kubectl.until(lambda: looks() >= 3 * total, seconds=90, what=f"a look at all: {operator.told()}")


@pytest.mark.parametrize("name", [*RUNNING, *LEFT])
def test_nothing_of_a_build_changes_when_its_operator_does(upgrade, name):
    assert upgrade.after[name] == upgrade.before[name]


@pytest.mark.parametrize("name", RUNNING)
def test_what_ran_ends_in_the_attempt_that_was_running(upgrade, home, jobs, name):
    status = waiting.finish(home, name)
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert status["current"]["job"] == upgrade.before[name]["job"]
    assert [pod["metadata"]["uid"] for pod in home.pods(name)] == upgrade.before[name]["pods"]


def test_what_is_asked_for_afterwards_is_built(upgrade, home):
    assert home.rebuild("built", "after-the-upgrade")["current"]["number"] == 2


def test_what_moves_afterwards_is_built(upgrade, home, repository):
    commit = repository.commit({"said": "two\n"})
    home.until("the commit", lambda: home.status("polled")["source"]["commit"] == commit, seconds=120, name="polled")
    assert [b["reason"] for b in home.status("polled")["builds"]] == ["CommitChanged", "SpecChanged"]


def test_the_chart_of_the_commit_before_and_this_one_replace_each_other_in_mid_build(
    strata, namespaces, before, server
):
    """The images are this commit's in both; CRDs come with the chart."""
    there = namespaces("baseline", "chart-upgrade")
    there.apply(e2e.registry(0, managed=e2e.HIDDEN))
    there.wait(e2e.REGISTRY, kind="registry")
    there.apply(body("built"), body("running"))
    there.wait("built")
    there.apply(*triggered(there, server))
    for name in TRIGGERED:
        there.wait(name)
    waiting.until_running(there, "running")
    first = {name: mark(there, name) for name in ("built", "running", *TRIGGERED)}
    try:
        release.upgraded(strata, before / "helm" / "strata")
        Looks(there, server).until_at_both()
        assert {name: mark(there, name) for name in first} == first
    finally:
        release.upgraded(strata, helm_chart.CHART)
    Looks(there, server).until_at_both()
    assert {name: mark(there, name) for name in first} == first
    for file in sorted((kubectl.CHECKOUT / "crds").glob("*.yaml")):
        wanted = yaml.safe_load(file.read_text())
        served = strata.get("customresourcedefinition", wanted["metadata"]["name"])
        schemas = [v["schema"]["openAPIV3Schema"]["properties"]["spec"] for v in wanted["spec"]["versions"]]
        assert served
        assert [v["schema"]["openAPIV3Schema"]["properties"]["spec"] for v in served["spec"]["versions"]] == schemas
    status = waiting.finish(there, "running")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert [pod["metadata"]["uid"] for pod in there.pods("running")] == first["running"]["pods"]
