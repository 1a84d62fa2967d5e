"""The CRDs of the chart are those of crds/."""

from typing import Any

import pytest
import yaml

from support import helm_chart

needs_helm = pytest.mark.skipif(helm_chart.helm() is None, reason="helm is nowhere; `make cluster-up` builds it")

SOURCES = helm_chart.CHECKOUT / "crds"
COPIES = helm_chart.CHART / "files" / "crds"
KEEP = {"helm.sh/resource-policy": "keep"}


def crds(values: dict[str, Any] | None = None) -> dict[str, helm_chart.Manifest]:
    return {b["metadata"]["name"]: b for b in helm_chart.render(values) if b["kind"] == "CustomResourceDefinition"}


def test_copies_equal_the_sources_byte_for_byte() -> None:
    sources, copies = ({f.name: f.read_bytes() for f in folder.iterdir()} for folder in (SOURCES, COPIES))
    assert sources
    assert copies == sources, "run `make manifests`"


@needs_helm
def test_rendering_changes_nothing_but_labels_and_annotations() -> None:
    sources = [yaml.safe_load(file.read_text()) for file in sorted(SOURCES.iterdir())]
    rendered = crds()
    assert rendered.keys() == {body["metadata"]["name"] for body in sources}
    for body in sources:
        got = rendered[body["metadata"]["name"]]
        assert got["spec"] == body["spec"]
        assert (got["apiVersion"], got["kind"]) == (body["apiVersion"], body["kind"])
        assert (body["metadata"].get("labels") or {}).items() <= got["metadata"]["labels"].items()


@needs_helm
def test_crds_outlive_the_release_unless_told_otherwise() -> None:
    assert all(body["metadata"]["annotations"] == KEEP for body in crds().values())
    assert all("annotations" not in body["metadata"] for body in crds({"crds": {"keep": False}}).values())


@needs_helm
def test_crds_can_be_left_to_somebody_else() -> None:
    assert crds({"crds": {"enabled": False}}) == {}
