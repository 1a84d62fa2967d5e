"""The operator's process among faults without end, against an API server and a registry in small: killed with SIGKILL, cut
off, refused, with answers lost, conflicts, gaps in what it is told, and another clock.

What a campaign on a real cluster (tests/e2e/alone) has beyond it are real pods, and the API server itself killed.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import time
from pathlib import Path
from typing import Any

from strata_operator import names
from support import api_proxy, kubectl
from support.fake_kube import FakeKube
from support.fake_registry import FakeRegistry
from support.small_world import RESOURCES, Process, World, settled, world

ROUNDS = int(os.environ.get("STRATA_EFFORT", "1")) * 4
SEED = int(os.environ.get("STRATA_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
BUILDS = 6
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


def test_a_pod_that_went_with_its_end_while_nobody_looked_is_another_attempt(tmp_path: Path) -> None:
    with world(tmp_path) as (here, config), contextlib.ExitStack() as stack:
        process = Process(tmp_path, config)
        stack.callback(process.kill)
        process.start()
        here.ask("b0", 0)
        kubectl.until(lambda: bool(here.fake.objects[names.PODS]), seconds=30, what="a pod")
        process.kill()
        kubectl.until(lambda: _ended(here), seconds=30, what="its end")
        for pod in list(here.fake.objects[names.PODS]):
            here.fake.remove(names.PODS, *pod)
        process.start()
        kubectl.until(lambda: here.has("b0"), seconds=60, what="the image")
        (body,) = here.fake.objects[names.IMAGEBUILDS].values()
    assert [(b["number"], b["result"]) for b in body["status"]["builds"]] == [(1, "Succeeded")]
    assert body["status"]["current"]["attempt"] == 2


def _ended(here: World) -> bool:
    return all(pod["status"]["phase"] == "Succeeded" for pod in here.fake.objects[names.PODS].values())


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
