"""The bench of thousands of ImageBuilds in small: what is asked and written is counted, times are for `make bench-scale`."""

from __future__ import annotations

import asyncio
import os

import pytest

from bench.scale import failover, lab, measure, report
from support import controlplane, registry_process

pytestmark = pytest.mark.skipif(
    not os.environ.get("STRATA_LONG"),
    reason="a Lease is lost on a machine that is busy with other tests: STRATA_LONG=1",
)

SIZE, BURST, STEADY = 200, 20, 10
BUILDS = BURST + STEADY
PLAN = measure.Plan(builds=BURST, active=10, pod_seconds=1.0, steady=STEADY, rate=5.0, idle=5.0, resyncs=5.0)


async def _measured() -> tuple[measure.Figures, dict[str, float]]:
    programs, registry = controlplane.find_binaries(), registry_process.find_binary()
    if programs is None or registry is None:
        pytest.skip("needs the cluster's programs (make cluster-up)")
    async with lab.opened(programs, registry) as world:
        return await measure.at(world, SIZE, PLAN, print), await failover.measure(world)


@pytest.fixture(scope="module")
def measured() -> tuple[measure.Figures, dict[str, float]]:
    return asyncio.run(_measured())


@pytest.fixture
def found(measured: tuple[measure.Figures, dict[str, float]]) -> measure.Figures:
    return measured[0]


def test_a_start_looks_at_every_imagebuild_and_writes_to_none_that_is_finished(found):
    for start, most in ((found["start"], SIZE), (found["restart"], SIZE + BUILDS)):
        assert SIZE - BUILDS <= start["reconciles"] <= most + 20  # the one that was applied meanwhile may take some
        assert start["status_writes"] <= 6  # of that one


@pytest.mark.parametrize("how", ["flow", "steady"])
def test_every_build_is_tagged_and_costs_few_requests(found, how):
    flow = found[how]
    assert (flow["untagged"], flow["errors"]) == (0, 0)
    assert flow["writes_per_build"] <= 8  # each has its reason in docs/scale.md
    assert flow["requests"]["create jobs"] == 1
    assert flow["requests_per_build"] <= 25
    assert flow["reconciles_per_build"] <= 30


def test_what_the_operator_watches_is_counted_and_is_little(found):
    watched = found["flow"]["watched"]
    assert watched["events"].keys() == watched["bytes"].keys() >= {"imagebuilds", "jobs", "pods"}
    assert watched["events"]["jobs"] >= 3  # made, begun, ended
    assert sum(watched["events"].values()) <= 60


def test_nothing_is_written_while_nothing_happens(found):
    asked = {name for name in found["idle"]["requests"] if not name.startswith("kopf") and "leases" not in name}
    assert not {name for name in asked if name.split()[0] in ("create", "update", "patch", "delete")}, asked


def test_a_resync_looks_at_a_part_of_what_has_not_changed(found):
    resync = found["resync"]
    assert resync["count"] >= 1
    assert 0 < resync["reconciles"] < SIZE / 2


def test_another_replica_acts_when_the_leader_has_ended(measured):
    found, away = measured
    assert away.keys() == {"killed", "ended"}
    table = report.table([found])
    assert len(table.splitlines()) == len(report.ROWS) + 2
    assert "is killed" in report.text([found | {"failover": away}])
