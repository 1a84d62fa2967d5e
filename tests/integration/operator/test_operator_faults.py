"""The operator's process among faults without end, against an API server and a registry in small: killed with SIGKILL, cut
off, refused, with answers lost, conflicts, gaps in what it is told, and another clock.

What a campaign on a real cluster (tests/e2e/alone) has beyond it are real pods, and the API server itself killed.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strata_operator import conditions, names
from support import api_proxy, kubectl, outside
from support import imagebuilds as ib
from support.fake_kube import FakeKube
from support.fake_registry import FakeRegistry

ROUNDS = int(os.environ.get("STRATA_EFFORT", "1")) * 4
SEED = int(os.environ.get("STRATA_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
BUILDS = 6
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CRDS = names.Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
RESOURCES = (
    *(value for value in vars(names).values() if isinstance(value, names.Resource)),
    CRDS,
)


class World:
    """The cluster: its kubelet gives every Job a pod that pushes an image and ends, sometimes by a kill."""

    def __init__(self, fake: FakeKube, registry: FakeRegistry, chance: random.Random) -> None:
        self.fake = fake
        self.registry = registry
        self.pushed: dict[str, list[str]] = {}  # Job -> digests
        self.jobs: dict[str, set[str]] = {}  # Job -> uids
        self._chance = chance
        self._over = threading.Event()
        self._ends: dict[str, float] = {}
        body = ib.registry(external={"host": registry.host, "insecure": True})
        fake.put(names.NAMESPACES, ib.namespace("restricted"))
        fake.put(names.REGISTRIES, {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")})

    def ask(self, name: str, version: int) -> None:
        """An ImageBuild, or its next version."""
        body = ib.build(name, dockerfile={"inline": f"FROM scratch\nLABEL v={version}\n"}, retries=10)
        body["spec"]["output"]["tags"] = ["latest", "n{build}"]
        old = self.fake.get(names.IMAGEBUILDS, "team", name)
        body["metadata"] = {"name": name, "namespace": "team"}
        body["status"] = copy.deepcopy(old["status"]) if old else {"observedGeneration": -1}
        self.fake.put(names.IMAGEBUILDS, body)

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
        elif 0 < self._ends[uid] <= time.monotonic():
            self._ends[uid] = 0
            killed = self._chance.random() < 0.15
            last = ib.ended(code=137) if killed else ib.ended(message=ib.result(self._push(job)))
            self._pod(job, phase="Failed" if killed else "Succeeded", containerStatuses=[last])

    def _pod(self, job: Any, **status: Any) -> None:
        template = job["spec"]["template"]["metadata"]
        body = ib.pod(job, now=time.time(), **status)
        body["metadata"]["labels"] = template["labels"]
        if self.fake.get(names.JOBS, "team", job["metadata"]["name"]):
            self.fake.put(names.PODS, body)

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

    def __init__(self, folder: Path, config: Path) -> None:
        self.log = folder / "operator.log"
        self.clock = folder / "clock"
        self.clock.write_text("+0\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{kubectl.CHECKOUT}/operator:{kubectl.CHECKOUT}/builder",
            "KUBECONFIG": str(self._config),
            "STRATA_NAMESPACE": "strata-system",
            "STRATA_POD_NAME": "one",
            "STRATA_LISTEN": f"127.0.0.1:{self._port}",
            "STRATA_NODE_PROXY": "false",
            "STRATA_POLL_ALLOWED_CIDRS": "127.0.0.0/8",
        }
        environment |= outside.wall_clock(self.clock)
        argv = [sys.executable, "-m", "strata_operator"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(20)


def settled(body: Any) -> bool:
    status = body["status"]
    generation = body["metadata"]["generation"]
    ready = conditions.is_true(status.get("conditions"), "Ready", generation=generation)
    return bool(ready and status["current"]["phase"] == "Succeeded" and status["observedGeneration"] == generation)


FAULTS = ("kill", "cut", "cut in a line", "gap", "429", "500", "drop", "conflict", "delay", "clock")


def break_once(fault: str, world: World, proxy: api_proxy.Proxy, process: Process, chance: random.Random) -> None:
    rules = {
        "429": api_proxy.Rule(api_proxy.Refuse(429, 1), chance=0.5),
        "500": api_proxy.Rule(api_proxy.Refuse(500), chance=0.5),
        "drop": api_proxy.Rule(api_proxy.Drop(), method="POST|PATCH|DELETE", chance=0.5),
        "conflict": api_proxy.Rule(api_proxy.Conflict(), method="PATCH", path="imagebuilds/.*/status$", chance=0.5),
        "delay": api_proxy.Rule(api_proxy.Delay(0.05, 0.5), chance=0.7),
    }
    if fault in rules:
        with proxy.having(rules[fault]):
            time.sleep(chance.uniform(0.5, 2))
    elif fault == "kill":
        process.kill()
        process.start()
    elif fault == "gap":
        with proxy.gap(in_stream=True):
            for kind in (names.PODS, names.JOBS):
                there = sorted(world.fake.objects[kind])
                if there:
                    with contextlib.suppress(KeyError):
                        world.fake.remove(kind, *chance.choice(there))
    elif fault == "clock":
        process.clock.write_text(f"{chance.choice([3600, -3600, 86400, 0]):+d}\n")
    else:
        proxy.cut(middle=fault == "cut in a line")


def test_among_faults_everything_that_was_asked_for_comes_about_once(tmp_path: Path) -> None:
    print(f"STRATA_SEED={SEED}")
    chance = random.Random(SEED)
    fake = FakeKube(*RESOURCES)
    with contextlib.ExitStack() as stack:
        stack.enter_context(fake.serving(tmp_path))
        registry = stack.enter_context(FakeRegistry())
        world = World(fake, registry, random.Random(f"{SEED}/pods"))
        proxy = api_proxy.Proxy(fake.url, seed=SEED, interfere=lambda path: touch(fake, path))
        stack.enter_context(proxy.serving())
        process = Process(tmp_path, proxy.kubeconfig(tmp_path))
        stack.callback(process.kill)
        stack.enter_context(world.kubelet())
        process.start()
        for round_ in range(ROUNDS):
            for build in range(BUILDS):
                if round_ == 0 or chance.random() < 0.5:
                    world.ask(f"b{build}", round_)
            for fault in chance.sample(FAULTS, 3):
                break_once(fault, world, proxy, process, chance)
                if not process.alive():
                    process.start()
                time.sleep(chance.uniform(0.2, 1.5))
        process.clock.write_text("+0\n")
        bodies = lambda: list(fake.objects[names.IMAGEBUILDS].values())  # noqa: E731
        deadline = time.monotonic() + 180
        while not all(settled(body) for body in bodies()):
            if not process.alive():
                process.start()
            assert time.monotonic() < deadline, f"{bodies()}\n{process.log.read_text()[-5000:]}"
            time.sleep(0.2)
        judge(world, bodies())


def touch(fake: FakeKube, path: str) -> None:
    name = path.removesuffix("/status").rpartition("/")[2]
    if body := copy.deepcopy(fake.get(names.IMAGEBUILDS, "team", name)):
        body["metadata"].setdefault("annotations", {})["example.com/touched"] = f"{time.time()}"
        fake.put(names.IMAGEBUILDS, body)


def judge(world: World, bodies: list[Any]) -> None:
    for body in bodies:
        name, status = body["metadata"]["name"], body["status"]
        numbers = [build["number"] for build in status["builds"]]
        assert numbers == sorted(set(numbers), reverse=True), status["builds"]
        assert status["digest"] in [digest for digests in world.pushed.values() for digest in digests]
        manifests = world.registry.manifests[f"team/{name}"]
        assert manifests["latest"] == manifests[status["digest"]]
        for build in status["builds"]:
            if build["result"] == "Succeeded":
                assert manifests[f"n{build['number']}"] == manifests[build["digest"]]
    assert {name: uids for name, uids in world.jobs.items() if len(uids) > 1} == {}
