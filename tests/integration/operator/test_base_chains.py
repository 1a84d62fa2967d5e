"""Chains and circles of images, with the whole operator against a real API server and a real registry.

Played here: the node, which ends every builder pod well after it has pushed an image upon the bases as they then are.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from strata_builder import contract, termination
from strata_builder.registry.client import Registry
from strata_operator import conditions, controller, main, names, settings
from support import indexes
from support.controlplane import ControlPlane, find_binaries
from support.registry_process import RegistryProcess, find_binary

PROGRAMS, REGISTRY = find_binaries(), find_binary()
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None or REGISTRY is None, reason="the programs are compiled by make cluster-up"),
]
GROUP = "/apis/strata.build/v1alpha1/namespaces/team"
PODS = "/api/v1/namespaces/team/pods"
Body = dict[str, Any]


class Lab:
    """A namespace `team` with a Registry `main`, and the node."""

    def __init__(self, control: ControlPlane, registry: RegistryProcess, client: Registry) -> None:
        self.control, self.host, self.client = control, registry.host, client
        self.bases: dict[str, tuple[str, ...]] = {}
        for name in ("team", "strata-system"):
            control.apply(f"/api/v1/namespaces/{name}", _object("v1", "Namespace", name, {}))
        spec = {"external": {"host": registry.host, "insecure": True}}
        control.apply(f"{GROUP}/registries/main", _object(names.API_VERSION, "Registry", "main", spec))

    def name(self, image: str) -> str:
        """What a Dockerfile calls the image of an ImageBuild, or a publisher's."""
        return f"{self.host}/library/debian:12" if image == "debian" else f"{self.host}/team/{image}"

    def apply(self, name: str, *bases: str, priority: int = 0) -> None:
        self.bases[name] = bases
        text = "\n".join(f"FROM {self.name(base)}" for base in bases) + "\nCOPY a /\n"
        spec = {
            "source": {"inline": {"a": "1"}},
            "dockerfile": {"inline": text},
            "triggers": {"baseImages": {"pollInterval": "24h"}},
            "output": {"registry": {"name": "main"}},
            "priority": priority,
        }
        self.control.apply(f"{GROUP}/imagebuilds/{name}", _object(names.API_VERSION, "ImageBuild", name, spec))

    def status(self, name: str) -> Body:
        found: Body = self.control.ask("GET", f"{GROUP}/imagebuilds/{name}")["status"]
        return found

    def rests(self, *wanted: str) -> list[int] | None:
        """The numbers of the builds, once all have succeeded upon their bases as they are."""
        found = [self.status(name) for name in wanted]
        for name, status in zip(wanted, found, strict=True):
            used = {base["name"]: base["digest"] for base in status.get("baseImages", ())}
            current = {self.name(base): _child(self.client, base) for base in self.bases[name] if self.digest(base)}
            if (status.get("current") or {}).get("phase") != "Succeeded" or used != current:
                return None
        return [status["current"]["number"] for status in found]

    def digest(self, image: str) -> str:
        found = self.client.head_manifest(*_place(image))
        return found.digest if found else ""

    def publish(self, text: str) -> None:
        """A new debian."""
        indexes.push_index(
            self.client, "library/debian", [indexes.push_image(self.client, "library/debian", text)], "12"
        )

    def play(self) -> None:
        """Every pod whose bases are there pushes and ends."""
        for pod in self.control.ask("GET", PODS)["items"]:
            name = pod["metadata"]["annotations"][names.ANNOTATION_IMAGEBUILD]
            if pod["status"].get("phase") == "Pending" and all(map(self.digest, self.bases[name])):
                self._end(pod, name)

    def _end(self, pod: Body, name: str) -> None:
        used = tuple(contract.BaseImage(self.name(base), _child(self.client, base)) for base in self.bases[name])
        made = indexes.push_image(self.client, f"team/{name}", f"{pod['metadata']['name']} {used}")
        result = contract.BuildResult(
            (contract.PlatformResult("linux/amd64", made["digest"], made["size"]),), base_images=used
        )
        now = conditions.rfc3339(time.time())
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        statuses = [
            {
                "name": one["name"], "image": one["image"], "imageID": "", "ready": False, "restartCount": 0,
                "state": {"terminated": {**ended, "message": termination.message(result)}},
            }
            for one in pod["spec"]["containers"]
        ]  # fmt: skip
        status = {"phase": "Succeeded", "startTime": now, "containerStatuses": statuses}
        path = f"{PODS}/{pod['metadata']['name']}/status"
        self.control.ask("PATCH", path, {"status": status}, content="application/strategic-merge-patch+json")


def _place(image: str) -> tuple[str, str]:
    return ("library/debian", "12") if image == "debian" else (f"team/{image}", "latest")


def _child(client: Registry, image: str) -> str:
    """The manifest that a build takes of it."""
    repository, tag = _place(image)
    found = client.manifest(repository, tag)
    return indexes.child_of(found.data) or str(found.digest)


def _object(version: str, kind: str, name: str, spec: Body) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | ({"spec": spec} if spec else {})


@pytest.fixture(scope="module")
def control() -> Iterator[ControlPlane]:
    assert PROGRAMS is not None
    with ControlPlane(PROGRAMS) as running:
        yield running


@contextlib.asynccontextmanager
async def working(
    control: ControlPlane, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> AsyncIterator[tuple[Lab, controller.Frame]]:
    assert REGISTRY is not None
    monkeypatch.setenv("KUBECONFIG", str(control.kubeconfig))
    options = settings.Settings(
        namespace="strata-system", listen="127.0.0.1:0", poll_allowed_cidrs=("127.0.0.0/8",), node_proxy=False, **more
    )
    with RegistryProcess(REGISTRY) as registry, contextlib.closing(Registry(registry.host, insecure=True)) as client:
        lab = Lab(control, registry, client)
        stop = asyncio.Event()
        async with main.assembled(options) as frame:
            task = asyncio.create_task(main.run(frame, stop=stop))
            try:
                yield lab, frame
            finally:
                for name in lab.bases:
                    await asyncio.to_thread(control.ask, "DELETE", f"{GROUP}/imagebuilds/{name}")
                stop.set()
                await task


def notified(frame: controller.Frame, host: str) -> int:
    """As when the registry has told of a push."""
    assert frame.hints.base is not None
    return frame.hints.base(host, "library/debian", "12")


async def until(lab: Lab, condition: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What `condition` gives once it is true, while the node goes on."""

    def turn() -> Any:
        lab.play()
        return condition()

    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(turn)):
        shown = {name: lab.status(name) for name in lab.bases} if time.monotonic() > deadline else {}
        assert not shown, shown
        await asyncio.sleep(0.1)
    return found


async def test_a_chain_of_three_is_built_once_each_from_the_bottom_up(control, monkeypatch):
    async with working(control, monkeypatch) as (lab, frame):
        lab.publish("one")
        lab.apply("a", "debian")
        lab.apply("b", "a", "debian")
        lab.apply("c", "b", "debian")
        numbers = await until(lab, lambda: lab.rests("a", "b", "c"))
        lab.publish("two")
        assert notified(frame, lab.host) == 1
        after = await until(lab, lambda: (now := lab.rests("a", "b", "c")) != numbers and now)
        assert after == [number + 1 for number in numbers]
        builds = [lab.status(name)["builds"][0] for name in "abc"]
        assert [build["reason"] for build in builds] == ["BaseImageChanged"] * 3
        for lower, upper in itertools.pairwise(builds):
            assert upper["startTime"] >= lower["completionTime"]


async def test_a_circle_stands_still_and_is_told_and_other_bases_go_on(control, monkeypatch):
    async with working(control, monkeypatch) as (lab, frame):
        lab.publish("one")
        lab.apply("x", "debian")
        lab.apply("y", "x")
        await until(lab, lambda: lab.rests("x", "y"))
        lab.apply("x", "y", "debian")

        def told(name: str) -> str:
            found = conditions.find(lab.status(name).get("conditions"), "Polling") or {}
            return str(found.get("message", "")) if found.get("reason") == "BaseImageCycle" else ""

        assert "team/y → team/x → team/y" in await until(lab, lambda: told("y"))
        assert "team/x → team/y → team/x" in await until(lab, lambda: told("x"))
        before = [lab.status(name)["current"]["number"] for name in "xy"]
        lab.publish("two")
        assert notified(frame, lab.host) == 1
        await until(lab, lambda: lab.status("x")["lastSuccess"]["number"] == before[0] + 1)
        lab.publish("three")
        notified(frame, lab.host)
        await until(lab, lambda: lab.status("x")["lastSuccess"]["number"] == before[0] + 2)
        assert [lab.status(name)["current"]["number"] for name in "xy"] == [before[0] + 2, before[1]]


async def test_a_base_of_many_is_looked_at_once_and_they_are_built_by_priority_as_places_are_free(control, monkeypatch):
    async with working(control, monkeypatch, max_builds=2) as (lab, frame):
        lab.publish("one")
        priorities = {f"p{priority}-{number}": priority for priority in (0, 10, 20) for number in range(4)}
        for name, priority in priorities.items():
            lab.apply(name, "debian", priority=priority)
        await until(lab, lambda: lab.rests(*priorities))
        lab.publish("two")
        assert notified(frame, lab.host) == 1
        await until(lab, lambda: lab.rests(*priorities) == [2] * len(priorities))
        builds = {name: lab.status(name)["builds"][0] for name in priorities}
        assert {build["reason"] for build in builds.values()} == {"BaseImageChanged"}
        starts = [[b["startTime"] for n, b in builds.items() if priorities[n] == priority] for priority in (20, 10, 0)]
        assert max(starts[0]) <= min(starts[1])
        assert max(starts[1]) <= min(starts[2])
        ends = sorted(build["completionTime"] for build in builds.values())
        begins = sorted(build["startTime"] for build in builds.values())
        assert all(begin >= end for begin, end in zip(begins[2:], ends, strict=False))  # never more than two at once
