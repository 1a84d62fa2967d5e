"""Builder pods into which somebody else puts containers, as a service mesh does: an init container, and a sidecar that ends
after the others. The kubelet divides among all of them what it keeps of their last words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support import e2e

IMAGE = "busybox:1.36"
PROXY = "trap 'exit 0' TERM; sleep 3600 & wait"
MUTATION = f"""
[JSONPatch{{op: "add", path: "/spec/initContainers", value: [
  Object.spec.initContainers{{name: "mesh-init", image: "{IMAGE}", command: ["true"]}},
  Object.spec.initContainers{{
    name: "mesh-proxy", image: "{IMAGE}", restartPolicy: "Always", command: ["sh", "-c", "{PROXY}"]
  }}
]}}]
"""
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


@pytest.fixture(scope="module")
def meshed(namespaces) -> Iterator[e2e.Namespace]:
    """A namespace whose pods all get the mesh's containers."""
    home = namespaces("baseline", "mesh")
    home.apply(e2e.registry(0, managed=e2e.HIDDEN))
    home.wait(e2e.REGISTRY, kind="registry")
    policy = f"{home.name}-mesh"
    try:
        for body in _policy(policy, home.name):
            home("apply", "-f", "-", body=body)
        home.until("the mesh", lambda: _is_meshed(home), seconds=60)
        yield home
    finally:
        for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
            home("delete", kind, policy, "--ignore-not-found")


def _policy(name: str, namespace: str) -> tuple[e2e.Body, e2e.Body]:
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "matchConstraints": {"namespaceSelector": here, "resourceRules": [PODS]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": MUTATION}}],
    }
    policy = {**group, "kind": "MutatingAdmissionPolicy", "spec": spec}
    return policy, {**group, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}


def _is_meshed(home: e2e.Namespace) -> bool:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}
    pod["spec"] = {"containers": [{"name": "app", "image": IMAGE}]}
    made = json.loads(home("create", "--dry-run=server", "-o", "json", "-f", "-", body=pod))
    return "mesh-proxy" in json.dumps(made["spec"].get("initContainers", []))


def test_a_result_with_many_steps_is_read_whole(meshed):
    steps = "".join(f"RUN echo {'x' * 60} > /made-{number}\n" for number in range(24))
    status = meshed.build(e2e.image_build("many-steps", f"FROM {IMAGE}\n{steps}"), seconds=180)
    assert status["digest"] == meshed.manifest_digest("many-steps")
    assert len(status["steps"]) > 5
    assert status["current"]["number"] == status["current"]["attempt"] == 1


def test_a_failure_with_much_output_is_told_and_not_taken_for_one_of_the_infrastructure(meshed):
    step = "RUN for i in $(seq 300); do echo line $i of what the step has printed; done; exit 3"
    meshed.apply(e2e.image_build("much-output", f"FROM {IMAGE}\n{step}\n"))
    status = meshed.wait("much-output", "Ready", "False", reason="RunFailed", seconds=180)
    assert status["current"]["attempt"] == 1
    assert "Dockerfile:2" in meshed.conditions("much-output")["Ready"]["message"]
    assert "line 300 of what the step has printed" in status["builds"][0]["attempts"][0]["lastLines"]
