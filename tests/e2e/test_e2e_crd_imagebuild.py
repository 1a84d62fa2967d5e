"""The ImageBuild CRD against the real API server: what it takes, what it refuses in which words, what it teaches."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cluster

pytestmark = pytest.mark.cluster
HERE = Path(__file__).parent
CRD = HERE.parents[1] / "crds" / "imagebuilds.strata.build.yaml"
GOOD = sorted((HERE / "crds" / "imagebuild" / "good").glob("*.yaml"))
BAD = sorted((HERE / "crds" / "imagebuild" / "bad").glob("*.yaml"))


@pytest.fixture(scope="module")
def kubectl():
    here = cluster.current()
    program = str(here.bin_dir / "kubectl") if here.bin_dir else "kubectl"

    def run(*arguments: str, stdin: str | None = None) -> Any:
        command = [program, "--kubeconfig", str(here.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    applied = run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    assert applied.returncode == 0, applied.stderr
    waited = run("wait", "--for=condition=Established", "crd/imagebuilds.strata.build", "--timeout=30s")
    assert waited.returncode == 0, waited.stderr
    return run


def dry_run(kubectl: Any, path: Path, *more: str) -> Any:
    return kubectl("create", "--dry-run=server", "--validate=strict", "--namespace=default", "-f", str(path), *more)


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_the_api_server_takes(kubectl, path):
    answer = dry_run(kubectl, path)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_the_api_server_refuses_naming_the_field(kubectl, path):
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    answer = dry_run(kubectl, path)
    assert answer.returncode != 0, f"{path.name} was taken"
    assert expected in answer.stderr


def test_defaults_are_filled_in_by_the_schema(kubectl):
    answer = dry_run(kubectl, HERE / "crds" / "imagebuild" / "good" / "smallest.yaml", "-o", "json")
    spec = json.loads(answer.stdout)["spec"]
    assert (spec["timeout"], spec["retries"], spec["isolation"], spec["network"]) == ("1h", 3, "Auto", "Cluster")
    assert spec["cache"] == {"mode": "Registry", "maxAge": "336h", "maxSize": "10Gi"}
    assert spec["history"] == {"succeeded": 5, "failed": 5, "logs": "Registry"}
    assert spec["output"]["tags"] == ["latest"]
    assert "source" not in spec


def test_a_new_object_is_never_taken_for_a_reconciled_one(kubectl):
    name = "crd-default-status"
    body = {
        "apiVersion": "strata.build/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"suspend": True, "output": {"registry": {"name": "nowhere"}}},
    }
    try:
        made = kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body))
        assert json.loads(made.stdout)["status"] == {"observedGeneration": -1}
    finally:
        kubectl("delete", "imagebuild", name, "--namespace=default", "--ignore-not-found")


@pytest.mark.parametrize(
    "field", ["spec", "spec.source.git", "spec.output.tags", "status.conditions", "spec.pod.resources"]
)
def test_kubectl_explain_teaches(kubectl, field):
    answer = kubectl("explain", f"imagebuild.{field}")
    assert answer.returncode == 0, answer.stderr
    assert "<no description>" not in answer.stdout.split("FIELDS")[0].removeprefix("GROUP")


def test_every_field_is_described():
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert list(undescribed(schema, "")) == []


def undescribed(schema: Any, path: str) -> Iterator[str]:
    for name, field in (schema.get("properties") or {}).items():
        if not field.get("description") and (name, path) != ("metadata", ""):
            yield f"{path}.{name}"
        yield from undescribed(field, f"{path}.{name}")
    if "items" in schema:
        yield from undescribed(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from undescribed(schema["additionalProperties"], f"{path}{{}}")


def test_every_text_list_and_map_of_the_spec_is_bounded():
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert list(unbounded(schema["properties"]["spec"], "spec")) == []


def unbounded(schema: Any, path: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "string" and "maxLength" not in schema and "enum" not in schema:
        yield path
    if kind == "array" and "maxItems" not in schema:
        yield path
    if isinstance(schema.get("additionalProperties"), dict):
        if "maxProperties" not in schema:
            yield path
        yield from unbounded(schema["additionalProperties"], f"{path}{{}}")
    for name, field in (schema.get("properties") or {}).items():
        yield from unbounded(field, f"{path}.{name}")
    if "items" in schema:
        yield from unbounded(schema["items"], f"{path}[]")
