"""An API server and a registry in small, with a kubelet that ends pods, for the operator's own process: no cluster is needed.

Real sockets and a real process that can be killed; what is small are the objects behind them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strata_builder import contract
from strata_operator import conditions, names
from support import imagebuilds as ib
from support import kubectl, outside
from support.fake_kube import FakeKube
from support.fake_registry import FakeRegistry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CRDS = names.Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
RESOURCES = (
    *(value for value in vars(names).values() if isinstance(value, names.Resource)),
    CRDS,
)


class World:
    """The cluster: its kubelet gives every Job a pod that pushes an image and ends, sometimes by a kill; and of a Job whose
    pod is gone after its end it tells the end, as the Job controller does."""

    def __init__(self, fake: FakeKube, registry: FakeRegistry, chance: random.Random, *, killed: float = 0.15) -> None:
        self.fake = fake
        self.registry = registry
        self.pushed: dict[str, list[str]] = {}  # Job -> digests
        self.jobs: dict[str, set[str]] = {}  # Job -> uids
        self.bases: dict[str, str] = {}  # base images that every pod meets: name -> what it stands for now
        self.held: set[str] = set()  # ImageBuilds whose pods run on until they are let go
        self._chance = chance
        self._killed = killed
        self._over = threading.Event()
        self._ends: dict[str, float] = {}
        self._ended: dict[str, str] = {}  # uid of a Job -> how its pod has ended
        body = ib.registry(external={"host": registry.host, "insecure": True})
        fake.put(names.NAMESPACES, ib.namespace("restricted"))
        fake.put(names.REGISTRIES, {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")})

    def ask(self, name: str, version: int, **spec: Any) -> None:
        """An ImageBuild, or its next version."""
        body = ib.build(name, dockerfile={"inline": f"FROM scratch\nLABEL v={version}\n"}, retries=10, **spec)
        body["spec"]["output"]["tags"] = ["latest", "n{build}"]
        old = self.fake.get(names.IMAGEBUILDS, "team", name)
        body["metadata"] = {"name": name, "namespace": "team"}
        body["status"] = copy.deepcopy(old["status"]) if old else {"observedGeneration": -1}
        self.fake.put(names.IMAGEBUILDS, body)

    def has(self, name: str) -> bool:
        """Whether the ImageBuild has come to what its spec asks for."""
        body = self.fake.get(names.IMAGEBUILDS, "team", name)
        return body is not None and settled(body)

    @contextlib.contextmanager
    def kubelet(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for job in list(self.fake.objects[names.JOBS].values()):
                self._look(job)

    def _look(self, job: Any) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        self.jobs.setdefault(name, set()).add(uid)
        if uid not in self._ends:
            self._ends[uid] = time.monotonic() + self._chance.uniform(0.1, 1.5)
            self._pod(job, phase="Running", containerStatuses=[ib.running()])
        elif 0 < self._ends[uid] <= time.monotonic() and job["metadata"]["ownerReferences"][0]["name"] not in self.held:
            self._ends[uid] = 0
            killed = self._chance.random() < self._killed
            last = ib.ended(code=137) if killed else ib.ended(message=self._result(job))
            self._ended[uid] = "failed" if killed else "succeeded"
            self._pod(job, phase="Failed" if killed else "Succeeded", containerStatuses=[last])
        elif uid in self._ended and "status" not in job:
            self._tell_end(job, self._ended[uid])

    def _tell_end(self, job: Any, end: str) -> None:
        name = job["metadata"]["name"]
        there = self.fake.get(names.JOBS, "team", name) is job
        if there and not self.fake.get(names.PODS, "team", f"{name}-x"):
            self.fake.put(names.JOBS, {**job, "status": {end: 1}})

    def _pod(self, job: Any, **status: Any) -> None:
        template = job["spec"]["template"]["metadata"]
        body = ib.pod(job, now=time.time(), **status)
        body["metadata"] |= {"labels": template["labels"], "annotations": template["annotations"]}
        if self.fake.get(names.JOBS, "team", job["metadata"]["name"]):
            self.fake.put(names.PODS, body)

    def _result(self, job: Any) -> contract.BuildResult:
        used = tuple(contract.BaseImage(name, digest) for name, digest in self.bases.items())
        return ib.result(self._push(job), base_images=used)

    def _push(self, job: Any) -> str:
        owner = job["metadata"]["ownerReferences"][0]["name"]
        config = self.registry.add_blob(f"team/{owner}", b"{}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [],
            "annotations": {"inputs": job["metadata"]["annotations"][names.ANNOTATION_INPUTS]},
        }
        digest = self.registry.add_manifest(f"team/{owner}", json.dumps(manifest).encode(), MANIFEST)
        self.pushed.setdefault(job["metadata"]["name"], []).append(digest)
        return digest


class Process:
    """The operator; the API server that it knows is the proxy."""

    def __init__(
        self, folder: Path, config: Path, *, name: str = "one", sources: Path = kubectl.CHECKOUT, **settings: str
    ) -> None:
        self.log = folder / f"{name}.log"
        self.clock = folder / f"{name}.clock"
        self.name = name
        self._sources = sources
        self._settings = settings
        self.clock.write_text("+0\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self._sources}/operator:{self._sources}/builder",
            "KUBECONFIG": str(self._config),
            "STRATA_NAMESPACE": "strata-system",
            "STRATA_POD_NAME": self.name,
            "STRATA_LISTEN": f"127.0.0.1:{self._port}",
            "STRATA_NODE_PROXY": "false",
            "STRATA_POLL_ALLOWED_CIDRS": "127.0.0.0/8",
        }
        environment |= self._settings | outside.wall_clock(self.clock)
        argv = [sys.executable, "-m", "strata_operator"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """As the kernel does; also if it has ended."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """As a kubelet asks it to."""
        self._end(signal.SIGTERM)

    def metrics(self, path: str = "metrics") -> str:
        """A page of its own, empty if it does not answer."""
        url = f"http://127.0.0.1:{self._port}/{path}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    @property
    def acts(self) -> bool:
        return "strata_leader 1.0" in self.metrics()

    def _end(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(60)


def settled(body: Any) -> bool:
    status = body["status"]
    generation = body["metadata"]["generation"]
    ready = conditions.is_true(status.get("conditions"), "Ready", generation=generation)
    return bool(ready and status["current"]["phase"] == "Succeeded" and status["observedGeneration"] == generation)


@contextlib.contextmanager
def world(folder: Path, *, seed: int = 1, killed: float = 0.0) -> Iterator[tuple[World, Path]]:
    """A world at work, and the kubeconfig of its API server."""
    fake = FakeKube(*RESOURCES)
    with fake.serving(folder) as config, FakeRegistry() as registry:
        made = World(fake, registry, random.Random(seed), killed=killed)
        with made.kubelet():
            yield made, config
