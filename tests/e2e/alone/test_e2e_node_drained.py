"""A node that is drained while it builds."""

from __future__ import annotations

from support import e2e, waiting


def test_a_drained_node_gives_the_build_back_when_it_is_there_again(operator, home, jobs, strata):
    """Only the builder pod is drained: the one node has the registry, too."""
    home.apply(e2e.image_build("drained", waiting.dockerfile()))
    waiting.until_running(home, "drained")
    (node,) = (n["metadata"]["name"] for n in strata.get("nodes")["items"])
    (job,) = home.jobs("drained")
    try:
        drain = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s")
        strata("drain", node, f"--pod-selector=job-name={job}", *drain)
        home.until("no node for it", lambda: _waits_for_a_node(home, "drained"), name="drained")
    finally:
        strata("uncordon", node)
    status = waiting.finish(home, "drained")
    assert (status["current"]["number"], status["current"]["attempt"]) == (1, 1)
    assert {key[1:]: len(made) for key, made in jobs.attempts("drained").items()} == {(1, 1): 1}


def _waits_for_a_node(home: e2e.Namespace, name: str) -> bool:
    building = home.conditions(name).get("Building", {})
    return (building.get("status"), building.get("reason")) == ("True", "Unschedulable")
