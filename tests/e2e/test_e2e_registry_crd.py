"""The schema of Registry as a real API server understands it: tables of manifests, transitions, explanations."""

import uuid
from pathlib import Path

import pytest
import yaml

from support import kubectl

pytestmark = pytest.mark.cluster
TABLES = Path(__file__).parent / "crds" / "registry"
STRICT = ("--dry-run=server", "--validate=strict", "--namespace", "default", "-f", "-")


@pytest.fixture(scope="module")
def k() -> kubectl.Kubectl:
    found = kubectl.current()
    found.apply_crd("registries")
    kubectl.until(lambda: found.ask("get", "registries.strata.build").code == 0, what="serving registries")
    return found


@pytest.mark.parametrize("path", sorted((TABLES / "good").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_good_registry_is_accepted(k, path):
    k("apply", *STRICT, text=path.read_text())


@pytest.mark.parametrize("path", sorted((TABLES / "bad").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_bad_registry_is_refused_with_the_place_and_the_reason(k, path):
    text = path.read_text()
    expected = [line.removeprefix("# refused: ") for line in text.splitlines() if line.startswith("# refused: ")]
    answer = k.ask("apply", *STRICT, text=text)
    assert answer.code != 0
    assert expected
    for words in expected:
        assert words in " ".join(answer.err.split())


MANAGED = {"managed": {"storage": {"volume": {"size": "2Gi", "storageClassName": "standard"}}}}
EXTERNAL = {"external": {"host": "registry.example.com"}}


def volume(**fields) -> dict:
    return {"managed": {"storage": {"volume": fields}}}


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (MANAGED, EXTERNAL, "cannot change between managed and external"),
        (EXTERNAL, MANAGED, "cannot change between managed and external"),
        (MANAGED, volume(size="1Gi", storageClassName="standard"), "a volume cannot shrink"),
        (MANAGED, volume(size="3Gi", storageClassName="standard"), ""),
        (MANAGED, volume(size=2**31, storageClassName="standard"), ""),
        (MANAGED, volume(size="2Gi", storageClassName="other"), "storageClassName is immutable"),
        (MANAGED, volume(size="2Gi"), "storageClassName cannot be added or removed later"),
        (volume(size="2Gi"), MANAGED, "storageClassName cannot be added or removed later"),
        (EXTERNAL, {"external": {"host": "other.example.com"}}, ""),
    ],
)
def test_what_may_change_later(k, before, after, refused):
    def body(spec):
        return {
            "apiVersion": "strata.build/v1alpha1",
            "kind": "Registry",
            "metadata": {"name": "changing"},
            "spec": spec,
        }

    space = f"strata-test-crd-{uuid.uuid4().hex[:8]}"  # one of its own: an operator may be at work in it when it goes
    k("create", "namespace", space)
    try:
        # Applied on the server's side: a replacement loses against an operator that writes the status in between.
        apply = ("apply", "--server-side", "--namespace", space, "-f", "-")
        k(*apply, body=body(before))
        answer = k.ask(*apply, "--dry-run=server", body=body(after))
        assert (answer.code != 0) is bool(refused), answer.err
        assert refused in " ".join(answer.err.split())
    finally:
        k("delete", "namespace", space, "--wait=false")


def test_defaults_are_in_the_schema_and_an_object_is_born_unobserved(k):
    answer = k("create", "--dry-run=server", "-o", "yaml", "-f", str(TABLES / "good" / "managed-least.yaml"))
    made = yaml.safe_load(answer)
    assert made["spec"]["managed"]["reclaimPolicy"] == "Retain"
    assert made["spec"]["managed"]["nodeAccess"] == {"mode": "NodeProxy", "port": 5000}
    assert made["status"] == {"observedGeneration": -1}


def test_every_field_is_explained():
    schema = yaml.safe_load((kubectl.CHECKOUT / "crds/registries.strata.build.yaml").read_text())
    root = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    own = {"apiVersion", "kind", "metadata"}  # Kubernetes explains these
    missing = [path for path, field in fields(root) if not field.get("description") and path.lstrip(".") not in own]
    assert missing == []


def test_every_string_list_and_map_has_a_limit():
    schema = yaml.safe_load((kubectl.CHECKOUT / "crds/registries.strata.build.yaml").read_text())
    root = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    limits = {"string": {"maxLength", "enum", "format"}, "array": {"maxItems"}}
    without = [
        path
        for path, field in fields(root)
        if (kind := limits.get(field.get("type", "")))
        and not kind & field.keys()
        and path not in (".apiVersion", ".kind")
    ]
    maps = [p for p, field in fields(root) if "additionalProperties" in field and "maxProperties" not in field]
    assert without + maps == []


def fields(schema: dict, path: str = ""):
    for name, field in (schema.get("properties") or {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items") or {}, f"{path}.{name}[]")


def test_kubectl_explain_teaches(k):
    assert "Exactly one of `managed` and `external`" in k("explain", "registry.spec")
    assert "A kubelet cannot resolve the names of Services" in " ".join(
        k("explain", "sreg.spec.managed.nodeAccess").split()
    )
