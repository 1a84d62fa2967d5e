"""The table of the scale bench, and the statuses that it gives to finished ImageBuilds."""

import json
import time

import pytest

from bench.scale import audit, objects, report
from strata_operator.imagebuild import state
from support import imagebuilds

FLOW = {
    "builds": 20,
    "active": 10,
    "seconds": 61.0,
    "cpu_per_build": 0.1005,
    "writes_per_build": 8.25,
    "requests": {"create jobs": 1.0, "list nodes": 0.001},
}


def test_a_missed_target_is_bold_and_what_was_not_measured_a_dash():
    lines = report.table([{"size": 1000, "flow": FLOW}, {"size": 10_000}]).splitlines()
    assert lines[0] == "| ImageBuilds | 1,000 | 10,000 | target |"
    assert "| writes to the API server per build | **8.2** | – | ≤ 8 |" in lines
    assert any(line.startswith("| operator's CPU per build") and "| 100 | – | ≤ 150 |" in line for line in lines)


def test_the_page_tells_of_each_size_and_of_the_greatest_that_was_built():
    page = report.text([{"size": 1000, "flow": FLOW}, {"size": 10_000, "note": "too busy"}])
    assert "- 1,000 ImageBuilds: 20 were built, at most 10 at once, in 61 s." in page
    assert "- 10,000 ImageBuilds: the run was ended before builds flowed; too busy." in page
    assert "| create jobs | 1.00 |" in page
    assert "list nodes" not in page


def test_finished_imagebuilds_are_finished_and_each_has_its_own_names():
    registry = imagebuilds.registry(
        namespace=objects.REGISTRY.namespace,
        name=objects.REGISTRY.name,
        access={"namespaces": "Selector", "selector": {"matchLabels": objects.LABEL}, "sharedCredentials": True},
    )
    made = objects.Finished(registry, imagebuilds.DIGEST, 1000, now=time.time())
    found = {index: made.status(index, objects.build(index)) for index in range(20)}
    assert {status["current"]["phase"] for status in found.values()} == {state.SUCCEEDED, state.FAILED}
    assert len({status["inputs"] for status in found.values()}) == 20
    for index, status in found.items():
        assert status["repository"] == f"scale-{index:02d}/app-{index:05d}"
        assert 4000 < len(json.dumps(status)) < 10_000


def test_the_page_tells_what_watches_cost_and_how_builds_one_by_one_went():
    watched = {"events": {"pods": 5.0, "imagebuilds": 8.5}, "bytes": {"pods": 30_000.0, "imagebuilds": 51_200.0}}
    steady = {"builds": 7, "rate": 0.5, "active": 3, "wait": {"p99": 0.25}}
    found = {"size": 1000, "flow": FLOW | {"watched": watched}, "steady": steady}
    page = report.text([found, {"size": 10_000}])
    assert "| events of the operator's watches per build | 13.5 | – |  |" in page
    assert "| imagebuilds | 8.50 | 51.2 |\n| pods | 5.00 | 30.0 |" in page
    assert "at most 10 at once, in 61 s; then 7, 0.5 a second, 3 at most at once." in page
    assert "| … of builds that are asked for one by one, p99, s (upper bound) | 0.250 | – | ≤ 1 |" in page


@pytest.mark.parametrize(
    ("agent", "verb", "counted", "watched"),
    [
        ("kopf/1.0", "watch", "kopf watch", {("/api/v1/pods", "strata.build/owner=strata")}),
        ("strata-operator/1", "get", "get", set()),
        ("kubectl/1.36", "watch", None, set()),
    ],
)
def test_the_audit_log_tells_what_the_operator_asks_and_watches(tmp_path, agent, verb, counted, watched):
    address = "/api/v1/pods?watch=true&resourceVersion=7&labelSelector=strata.build%2Fowner%3Dstrata"
    line = {"userAgent": agent, "verb": verb, "requestURI": address, "objectRef": {"resource": "pods"}}
    log = tmp_path / "audit.log"
    log.write_text(json.dumps(line) + "\n" + '{"half of')
    found = audit.Audit(log)
    assert found.since() == ({} if counted is None else {(counted, "pods", ""): 1})
    assert found.watched == watched
