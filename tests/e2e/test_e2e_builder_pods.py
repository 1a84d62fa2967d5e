"""The builder pods that the operator makes, against the real API server: valid, and admitted where they should be."""

import json
import subprocess
from typing import Any

import pytest

import cluster
from strata_operator import names, settings
from strata_operator.imagebuild import case, objects, questions, target
from strata_operator.registry import view
from support import imagebuilds as ib

pytestmark = pytest.mark.cluster
OPTIONS = settings.Settings(namespace="strata-system", builder_image="registry.example/builder:1")
LEVELS = ("restricted", "baseline", "privileged")


@pytest.fixture(scope="module")
def kubectl():
    here = cluster.current()
    program = str(here.bin_dir / "kubectl") if here.bin_dir else "kubectl"

    def run(*arguments: str, stdin: str | None = None) -> Any:
        command = [program, "--kubeconfig", str(here.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    for level in LEVELS:
        meta = {"name": f"pods-{level}", "labels": {names.LABEL_POD_SECURITY: level}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        applied = run("apply", "-f", "-", stdin=json.dumps(body))
        assert applied.returncode == 0, applied.stderr
    yield run
    run("delete", "namespace", *(f"pods-{level}" for level in LEVELS), "--wait=false")


def made(rung: str, level: str, **fields: Any) -> objects.Made:
    body = ib.build(namespace=f"pods-{level}", **fields)
    seen = case.Observed(body, ib.registry(namespace=f"pods-{level}"), ib.namespace(name=f"pods-{level}"))
    planned = questions.Job(f"sib-web-{rung.lower()}", 1, 1, 1, "sha256:i", rung, "team/web")
    to = target.Target(view.view(seen.registry or {}), "team/web")
    return objects.make(seen, to, planned, OPTIONS, resolv_conf="nameserver 10.96.0.10\n", ca_bundle="PEM\n")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("rung", "weakest"), [("Layers", 0), ("InPlace", 1), ("UserNS", 2)])
def test_a_namespace_admits_the_pods_of_its_rungs_and_no_others(kubectl, rung, weakest, level):
    pod = objects.pod_for_admission(made(rung, level).job) | {"apiVersion": "v1", "kind": "Pod"}
    answer = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(pod))
    if LEVELS.index(level) >= weakest:
        assert answer.returncode == 0, answer.stderr
    else:
        assert f'violates PodSecurity "{level}:latest"' in answer.stderr


@pytest.mark.parametrize("rung", ["Layers", "InPlace", "UserNS"])
def test_every_object_of_an_attempt_is_valid(kubectl, rung):
    found = made(
        rung,
        "privileged",
        source={"inline": {"conf/a b": "x"}},
        secrets=[{"id": "a", "secretRef": {"name": "b", "key": "c"}}],
        pullSecrets=[{"name": "hub"}],
        pod={"resources": {"limits": {"cpu": 2, "memory": "64Mi"}}, "labels": {"a": "b"}},
    )
    bodies = [{"apiVersion": "v1", "kind": "ConfigMap"} | body for body in found.config_maps]
    bodies.append({"apiVersion": "batch/v1", "kind": "Job"} | found.job)
    for body in bodies:
        answer = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(body))
        assert answer.returncode == 0, answer.stderr
