"""Kueue itself on the cluster of the tests: compiled from its module, in an image that Strata builds, by its own chart."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support import e2e, go_modules, go_programs, kubectl, patience, release

#: Kueue takes many minutes to compile.
LONG = os.environ.get("STRATA_LONG", "") not in ("", "0")
GROUP = "kueue.x-k8s.io"
QUEUE_NAME = f"{GROUP}/queue-name"
PRIORITY_CLASS = f"{GROUP}/priority-class"
NAMESPACE = "kueue-system"
_API = f"{GROUP}/v1beta2"
_MODULE = "sigs.k8s.io/kueue"
_SOURCE = kubectl.CHECKOUT / "tests/e2e/kueue"
_IMAGE = "kueue.test/kueue"
_DOCKERFILE = "FROM scratch\nCOPY kueue /manager\nUSER 65532:65532\n"
#: All that a builder pod asks for beside the `pods` themselves has to be in a quota, else Kueue admits none.
_PLENTY = {"cpu": "100", "memory": "1Ti", "ephemeral-storage": "1Ti"}


def program() -> Path:
    """Kueue's manager, compiled once. Raises go_programs.Missing."""
    return go_programs.ensure(_SOURCE, "about 6 minutes", f"{_MODULE}/cmd/kueue")


@contextlib.contextmanager
def installed(k: kubectl.Kubectl, folder: Path) -> Iterator[None]:
    """Kueue as its chart installs it, with all that its defaults have it manage; `folder` is for its image."""
    module = go_modules.find(_MODULE, _SOURCE)
    _load(program(), f"{_IMAGE}:{module.version}", folder)
    image = {"repository": _IMAGE, "tag": module.version, "pullPolicy": "Never"}
    small = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    values = {"controllerManager": {"manager": {"image": image, "resources": small}}}
    chart = str(module.folder / "charts/kueue")
    release.helm(k, "install", "kueue", chart, "--create-namespace", "--values", "-", given=values, namespace=NAMESPACE)
    try:
        yield
    finally:
        release.helm(k, "uninstall", "kueue", namespace=NAMESPACE)
        k("delete", "namespace", NAMESPACE, "--wait=false")


def _load(binary: Path, name: str, folder: Path) -> None:
    context = folder / "context"
    context.mkdir()
    shutil.copyfile(binary, context / "kueue")
    (context / "kueue").chmod(0o755)
    (context / "Dockerfile").write_text(_DOCKERFILE)
    archive = folder / "kueue.tar"
    build = [str(kubectl.CHECKOUT / ".venv/bin/strata"), "build", "--tag", name, "-o", f"type=oci,dest={archive}"]
    load = [str(kubectl.CHECKOUT / ".venv/bin/python"), "-m", "cluster", "load", str(archive)]
    for command in ([*build, str(context)], load):
        environment = kubectl.environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(context)
    archive.unlink()


class Queues:
    """A ClusterQueue for as many pods as `quota` says, a ResourceFlavor, and the LocalQueue `builds` of a namespace."""

    def __init__(self, home: e2e.Namespace) -> None:
        self.home = home
        self.name = home.name  # of what belongs to no namespace

    @contextlib.contextmanager
    def made(self, pods: int) -> Iterator[None]:
        self._apply("ResourceFlavor", self.name, {})
        self.quota(pods)
        self._apply("LocalQueue", "builds", {"clusterQueue": self.name})
        for name, value in (("low", 1), ("high", 100)):
            self._apply("WorkloadPriorityClass", f"{self.name}-{name}", value=value)
        try:
            yield
        finally:  # what is still in use does not go
            self.home("delete", "imagebuilds", "--all")
            patience.look(lambda: not self.workloads(), seconds=60)
            self.home("delete", f"localqueues.{GROUP}", "builds")
            for kind in ("clusterqueue", "resourceflavor"):
                self.home("delete", f"{kind}s.{GROUP}", self.name)
            self.home("delete", f"workloadpriorityclasses.{GROUP}", f"{self.name}-low", f"{self.name}-high")

    def quota(self, pods: int, **more: Any) -> None:
        """What may run at once from now on."""
        amounts = {**_PLENTY, "pods": pods}
        resources = [{"name": name, "nominalQuota": amount} for name, amount in amounts.items()]
        group = {"coveredResources": list(amounts), "flavors": [{"name": self.name, "resources": resources}]}
        preemption = {"withinClusterQueue": "LowerPriority"}
        spec = {"namespaceSelector": {}, "resourceGroups": [group], "preemption": preemption} | more
        self._apply("ClusterQueue", self.name, spec)

    def workloads(self) -> list[e2e.Body]:
        """Kueue's own records of what it is asked to admit in the namespace."""
        return self.home.all(f"workloads.{GROUP}")

    def condition(self, build: str, kind: str) -> e2e.Body:
        """A condition of the Workload of an ImageBuild's newest Job; empty if it has none."""
        job = self.home.jobs(build)[-1]
        for found in self.workloads():
            if any(owner["name"] == job for owner in found["metadata"].get("ownerReferences", ())):
                told: dict[str, e2e.Body] = {c["type"]: c for c in found.get("status", {}).get("conditions", ())}
                return told.get(kind, {})
        return {}

    def _apply(self, kind: str, name: str, spec: Mapping[str, Any] | None = None, **fields: Any) -> None:
        body = {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, **fields}
        self.home.apply(body | ({"spec": spec} if spec is not None else {}))
