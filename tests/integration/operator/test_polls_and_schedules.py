"""Commits and schedules, with the whole operator against a real API server, a real registry and a real git server.

Played here: the node, which ends every builder pod well after it has pushed an image of its own.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from strata_builder import contract, termination
from strata_builder.registry.client import Registry
from strata_operator import conditions, controller, main, names, settings
from support import indexes
from support.controlplane import ControlPlane, find_binaries
from support.git_server import HttpServer, Repository
from support.registry_process import RegistryProcess, find_binary

PROGRAMS, REGISTRY = find_binaries(), find_binary()
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None or REGISTRY is None, reason="the programs are compiled by make cluster-up"),
]
MANIFESTS = Path(__file__).parents[2] / "e2e" / "crds" / "imagebuild"
GROUP = "/apis/strata.build/v1alpha1/namespaces/team"
PODS = "/api/v1/namespaces/team/pods"
Body = dict[str, Any]


class Lab:
    """A namespace `team` with a Registry `main`, and the node. `made` are the ImageBuilds."""

    def __init__(self, control: ControlPlane, registry: RegistryProcess, client: Registry) -> None:
        self.control, self.client = control, client
        self.made: set[str] = set()
        for name in ("team", "strata-system"):
            control.apply(f"/api/v1/namespaces/{name}", _object("v1", "Namespace", name, {}))
        spec = {"external": {"host": registry.host, "insecure": True}}
        control.apply(f"{GROUP}/registries/main", _object(names.API_VERSION, "Registry", "main", spec))

    def apply(self, name: str, **spec: Any) -> None:
        self.made.add(name)
        spec = {"output": {"registry": {"name": "main"}}, "isolation": "Layers"} | spec
        self.control.apply(f"{GROUP}/imagebuilds/{name}", _object(names.API_VERSION, "ImageBuild", name, spec))

    def read(self, name: str) -> Body:
        found: Body = self.control.ask("GET", f"{GROUP}/imagebuilds/{name}")
        return found

    def status(self, name: str) -> Body:
        found: Body = self.read(name)["status"]
        return found

    def builds(self, name: str) -> int:
        """How many builds have succeeded, 0 while one is under way."""
        current = self.status(name).get("current") or {}
        return int(current.get("number", 0)) if current.get("phase") == "Succeeded" else 0

    def play(self) -> None:
        for pod in self.control.ask("GET", PODS)["items"]:
            if pod["status"].get("phase") == "Pending":
                self._end(pod, pod["metadata"]["annotations"][names.ANNOTATION_IMAGEBUILD])

    def _end(self, pod: Body, name: str) -> None:
        pushed = indexes.push_image(self.client, f"team/{name}", pod["metadata"]["name"])
        result = contract.BuildResult((contract.PlatformResult("linux/amd64", pushed["digest"], pushed["size"]),))
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


def _object(version: str, kind: str, name: str, spec: Body) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | ({"spec": spec} if spec else {})


@pytest.fixture(scope="module")
def control() -> Iterator[ControlPlane]:
    assert PROGRAMS is not None
    with ControlPlane(PROGRAMS) as running:
        yield running


@pytest.fixture
def lab(control, monkeypatch) -> Iterator[Lab]:
    assert REGISTRY is not None
    monkeypatch.setenv("KUBECONFIG", str(control.kubeconfig))
    with RegistryProcess(REGISTRY) as registry, contextlib.closing(Registry(registry.host, insecure=True)) as client:
        made = Lab(control, registry, client)
        yield made
        for name in made.made:
            control.ask("DELETE", f"{GROUP}/imagebuilds/{name}")


@contextlib.asynccontextmanager
async def operator() -> AsyncIterator[controller.Frame]:
    """One life of it."""
    options = settings.Settings(
        namespace="strata-system", listen="127.0.0.1:0", poll_allowed_cidrs=("127.0.0.0/8",), node_proxy=False
    )
    stop = asyncio.Event()
    async with main.assembled(options) as frame:
        task = asyncio.create_task(main.run(frame, stop=stop))
        try:
            yield frame
        finally:
            stop.set()
            await task


async def until(lab: Lab, what: str, condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    """What `condition` gives once it is true, while the node goes on."""

    def turn() -> Any:
        lab.play()
        return condition()

    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(turn)):
        shown = {name: lab.status(name) for name in lab.made} if time.monotonic() > deadline else {}
        assert not shown, f"{what} has not come: {shown}"
        await asyncio.sleep(0.2)
    return found


async def test_a_commit_is_seen_by_one_look_for_all_and_nothing_is_built_for_nothing(lab, tmp_path):
    repository = Repository.make(tmp_path)
    repository.commit({"Dockerfile": "FROM scratch\nCOPY . /\n"})
    three = ["one", "two", "three"]
    with HttpServer(tmp_path) as server:
        git = {"url": f"{server.url}/app.git", "revision": "main"}
        spec: Any = {"source": {"git": git}, "triggers": {"git": {"pollInterval": "10s"}}}
        async with operator():
            for name in three:
                lab.apply(name, **spec)
            await until(lab, "the first builds", lambda: [lab.builds(n) for n in three] == [1, 1, 1])
            server.log.clear()
            began, seen = time.monotonic(), {name: lab.status(name)["lastCheckedTime"] for name in three}
            await until(
                lab,
                "two looks",
                lambda: all(lab.status(n)["lastCheckedTime"] > seen[n] for n in three) and len(server.log) > 1,
            )
            # one request a look, which serves all three
            assert {path for path, _ in server.log} == {"/app.git/git-upload-pack"}
            assert len(server.log) <= (time.monotonic() - began) / 10 + 1
            before = {name: lab.read(name) for name in three}
            for name in three:
                lab.apply(name, **spec)  # the same manifest again
            after = {name: lab.read(name) for name in three}
            assert [a["metadata"]["generation"] for a in after.values()] == [1, 1, 1]
            assert [b["status"]["current"] for b in before.values()] == [a["status"]["current"] for a in after.values()]
            commit = repository.commit({"more": "1"})
            await until(lab, "the new commit", lambda: [lab.builds(n) for n in three] == [2, 2, 2])
            for name in three:
                status = lab.status(name)
                assert (status["current"]["reason"], status["source"]["commit"]) == ("CommitChanged", commit)
                assert conditions.find(status["conditions"], "Polling") is None
        server.log.clear()
        async with operator():  # another life: it looks at its moments, and builds nothing
            seen = {name: lab.status(name)["lastCheckedTime"] for name in three}
            await until(lab, "a look", lambda: all(lab.status(n)["lastCheckedTime"] > seen[n] for n in three))
            server.refuse, server.retry_after = 503, "2"
            await until(lab, "Polling=False", lambda: all(_polling(lab, n) == "SourceUnavailable" for n in three))
            server.refuse = 0
            await until(lab, "Polling heals", lambda: all(_polling(lab, n) == "" for n in three))
            assert [lab.builds(n) for n in three] == [2, 2, 2]


def _polling(lab: Lab, name: str) -> str:
    found = conditions.find(lab.status(name)["conditions"], "Polling")
    return str(found["reason"]) if found else ""


async def test_a_schedule_of_every_minute_survives_a_restart_and_ends_with_suspend(lab):
    spec: Any = {
        "source": {"inline": {"a": "b"}},
        "dockerfile": {"inline": "FROM scratch\nCOPY a /\n"},
        "triggers": {"schedule": {"cron": "* * * * *", "timeZone": "Europe/Berlin"}},
    }
    async with operator():
        lab.apply("minutely", **spec)
        await until(lab, "the first build", lambda: lab.builds("minutely") == 1)
        due = conditions.unix(lab.status("minutely")["nextScheduleTime"])
    await asyncio.sleep(max(due + 1 - time.time(), 0))  # its time passes while nobody is there
    async with operator():
        await until(lab, "the missed build", lambda: lab.builds("minutely") == 2)
        status = lab.status("minutely")
        assert status["current"]["reason"] == "Scheduled"
        assert status["current"]["noCache"]
        assert conditions.unix(status["lastScheduleTime"]) >= due
        following = conditions.unix(status["nextScheduleTime"])
        assert following % 60 == 0
        await until(lab, "the next build", lambda: lab.builds("minutely") == 3)
        lab.apply("minutely", **spec, suspend=True)
        await until(
            lab, "Suspended", lambda: conditions.find(lab.status("minutely").get("conditions"), "Suspended") is not None
        )


async def test_what_the_schema_cannot_tell_is_an_invalid_spec_that_names_the_field(lab):
    async with operator():
        for name, schedule in (
            ("cron", {"cron": "0 0 30 2 *"}),
            ("zone", {"cron": "@daily", "timeZone": "Mars/Olympus"}),
        ):
            lab.apply(name, source={"inline": {"a": "b"}}, triggers={"schedule": schedule})

        def told(name: str) -> str:
            found = conditions.find(lab.status(name).get("conditions"), "Stalled") or {}
            return str(found.get("message", "")) if found.get("reason") == "InvalidSpec" else ""

        assert "spec.triggers.schedule.cron" in await until(lab, "InvalidSpec", lambda: told("cron"))
        assert "spec.triggers.schedule.timeZone" in await until(lab, "InvalidSpec", lambda: told("zone"))


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*/schedule-*.yaml")), ids=lambda path: path.stem)
async def test_the_api_server_takes_good_schedules_and_refuses_bad_ones_naming_the_field(lab, path):
    text = path.read_text()
    body = yaml.safe_load(text)

    def create() -> None:
        lab.control.ask("POST", f"{GROUP}/imagebuilds?dryRun=All&fieldValidation=Strict", body)

    if path.parent.name == "good":
        create()
        return
    with pytest.raises(RuntimeError, match="422") as refused:
        create()
    assert text.splitlines()[0].removeprefix("# expect: ") in str(refused.value)
