"""The chart's values for the cluster of the tests and for one that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest
from hack import deploy, tools

import cluster

OURS = cluster.Cluster("strata-1", Path("k"), "10.0.0.2", "10.0.0.2:5000", Path("bin"), "strata-1", Path("state"))
EXISTING = cluster.Cluster("kind-strata", Path("k"), None, None, None, None, None)


@pytest.fixture
def existing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    monkeypatch.setenv("STRATA_IMAGE_REGISTRY", "registry.example.com/strata/")
    monkeypatch.delenv("STRATA_DOCKER_MIRROR", raising=False)
    return monkeypatch


def test_our_own_cluster_has_a_stand_in_for_docker_io(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATA_CLUSTER", raising=False)
    values = deploy.values(OURS)
    assert values["mirrors"] == {"docker.io": "http://10.0.0.2:5000"}
    assert values["builder"]["image"]["repository"] == "strata.build/builder"


def test_another_cluster_gets_the_images_from_a_registry_and_else_the_charts_own_values(
    existing: pytest.MonkeyPatch,
) -> None:
    values = deploy.values(EXISTING)
    assert {*values} == {"operator", "builder"}
    assert values["operator"]["image"]["repository"] == "registry.example.com/strata/operator"


def test_a_mirror_of_docker_io_is_that_of_the_builds_too(existing: pytest.MonkeyPatch) -> None:
    existing.setenv("STRATA_DOCKER_MIRROR", "https://mirror.example.com")
    assert deploy.values(EXISTING)["mirrors"] == {"docker.io": "https://mirror.example.com"}


def test_another_cluster_without_a_registry_for_the_images_is_refused_with_what_to_type(
    existing: pytest.MonkeyPatch,
) -> None:
    existing.delenv("STRATA_IMAGE_REGISTRY")
    with pytest.raises(tools.Stop, match="export STRATA_IMAGE_REGISTRY="):
        deploy.values(EXISTING)
