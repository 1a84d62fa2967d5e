"""From a step that prints to `strata logs`: the whole operator, a real API server, a real registry, real containers.

Played here: the node, which runs the containers of a pod as processes with the request that the operator has written,
and tells their ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from strata_builder import contract
from strata_builder.registry.client import Registry
from strata_operator import conditions, names
from support import kubectl, pods
from support.controlplane import ControlPlane, find_binaries
from support.operator_process import OperatorProcess
from support.registry_process import RegistryProcess, find_binary

PROGRAMS, REGISTRY = find_binaries(), find_binary()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.skipif(PROGRAMS is None or REGISTRY is None, reason="the programs are compiled by make cluster-up"),
]
GROUP = "/apis/strata.build/v1alpha1/namespaces/team"
PODS = "/api/v1/namespaces/team/pods"
Body = dict[str, Any]


class Lab:
    """A namespace `team` with a Registry `main`, and the node."""

    def __init__(self, control: ControlPlane, registry: RegistryProcess, folder: Path) -> None:
        self.control, self.host, self.folder = control, registry.host, folder
        self.steps: dict[str, str] = {}
        self.killed: set[str] = set()  # ImageBuilds whose first attempt is killed
        for name in ("team", "strata-system"):
            control.apply(f"/api/v1/namespaces/{name}", _object("v1", "Namespace", name, {}))
        spec = {"external": {"host": registry.host, "insecure": True}}
        control.apply(f"{GROUP}/registries/main", _object(names.API_VERSION, "Registry", "main", spec))

    def apply(self, name: str, steps: str, **spec: Any) -> None:
        self.steps[name] = f"FROM {self.host}/library/busybox:1\n{steps}\n"
        fields = {"dockerfile": {"inline": self.steps[name]}, "output": {"registry": {"name": "main"}}, **spec}
        self.control.apply(f"{GROUP}/imagebuilds/{name}", _object(names.API_VERSION, "ImageBuild", name, fields))

    def status(self, name: str) -> Body:
        found: Body = self.control.ask("GET", f"{GROUP}/imagebuilds/{name}").get("status") or {}
        return found

    def until(self, condition: Callable[[], Any], seconds: float = 240.0) -> Any:
        """What `condition` gives once it is true, while the node goes on."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            for pod in self.control.ask("GET", PODS)["items"]:
                if pod["status"].get("phase") == "Pending":
                    self._run(pod)
            assert time.monotonic() < deadline, {name: self.status(name) for name in self.steps}
            time.sleep(0.2)
        return found

    def remove_pods(self) -> None:
        for job in self.control.ask("GET", "/apis/batch/v1/namespaces/team/jobs")["items"]:
            path = f"/apis/batch/v1/namespaces/team/jobs/{job['metadata']['name']}?propagationPolicy=Background"
            self.control.ask("DELETE", path)
        self.until(lambda: not self.control.ask("GET", PODS)["items"])

    def _run(self, pod: Body) -> None:
        """The pod's containers as processes; its status is told when all have ended, as a kubelet would."""
        meta = pod["metadata"]
        volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "request")
        path = f"/api/v1/namespaces/team/configmaps/{volume['configMap']['name']}"
        request = contract.decode_request(self.control.ask("GET", path)["data"]["request.json"])
        text = self.steps[meta["annotations"][names.ANNOTATION_IMAGEBUILD]]
        roles = {"build": "support.chroot_roots"}
        with pods.Pod(self.folder / meta["uid"], replace(request, timeout_seconds=100), {}, text) as made:
            three = [made.start(role, roles.get(role, "strata_builder.pod")) for role in ("push", "build", "fetch")]
            if request.build.name in self.killed and request.build.attempt == 1:
                _wait_for(three[1], " printed")
                three[1].process.send_signal(signal.SIGKILL)
            statuses = [_ended(one, pod) for one in three]
        phase = "Succeeded" if all(s["state"]["terminated"]["exitCode"] == 0 for s in statuses) else "Failed"
        status = {"phase": phase, "startTime": conditions.rfc3339(time.time()), "containerStatuses": statuses}
        content = "application/strategic-merge-patch+json"
        self.control.ask("PATCH", f"{PODS}/{meta['name']}/status", {"status": status}, content=content)

    def logs(self, *words: str, as_: str = "") -> subprocess.CompletedProcess[str]:
        config = self.folder / f"kubeconfig-{as_}"
        document = yaml.safe_load(self.control.kubeconfig.read_text())
        if as_:
            document["users"][0]["user"]["as"] = as_
        config.write_text(yaml.safe_dump(document))
        environment = os.environ | {"KUBECTL": f"{PROGRAMS}/kubectl", "HOME": str(self.folder)}
        command = [
            str(kubectl.CHECKOUT / ".venv/bin/strata"),
            "logs",
            *words,
            "-n",
            "team",
            "--kubeconfig",
            str(config),
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

    def printed(self, *words: str) -> str:
        done = self.logs(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _object(version: str, kind: str, name: str, spec: Body) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | ({"spec": spec} if spec else {})


def _wait_for(one: pods.Container, word: str) -> None:
    deadline = time.monotonic() + 60
    while word not in one.log.replace("echo printed", ""):
        assert time.monotonic() < deadline, one.log
        time.sleep(0.05)


def _ended(one: pods.Container, pod: Body) -> Body:
    """A container's status. The kubelet takes the end of its output where it has left no message."""
    code, name = one.wait(120), one.home.name
    code = 128 - code if code < 0 else code
    said = one.home / "termination/message"
    message = said.read_text() if said.exists() else one.log[-2048:] if code else ""
    now = conditions.rfc3339(time.time())
    terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": now, "finishedAt": now}
    image = next(each["image"] for each in pod["spec"]["containers"] if each["name"] == name)
    return {
        "name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0,
        "state": {"terminated": terminated | {"message": message}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    assert PROGRAMS is not None
    assert REGISTRY is not None
    folder = tmp_path_factory.mktemp("lab")
    with ControlPlane(PROGRAMS) as control, RegistryProcess(REGISTRY) as registry:
        (folder / "base").mkdir()
        pods.push_base(registry.host, "library/busybox", "1", folder / "base")
        made = Lab(control, registry, folder)
        options = {"POLL_ALLOWED_CIDRS": "127.0.0.0/8", "NODE_PROXY": "false"}
        with OperatorProcess(control.kubeconfig, folder / "operator.log", options):
            yield made


def test_a_step_that_failed_is_in_the_status_the_events_and_the_registry(lab: Lab) -> None:
    lab.apply("fails", "RUN echo first; echo last words; exit 7")
    status = lab.until(lambda: (s := lab.status("fails")).get("builds") and s)
    (entry,) = status["builds"]
    (attempt,) = entry["attempts"]
    assert (entry["result"], attempt["attempt"], attempt["result"]) == ("RunFailed", 1, "RunFailed")
    assert attempt["lastLines"] == "first\nlast words"
    assert entry["log"].startswith(f"{lab.host}/team/fails:cache-log-")

    def is_told() -> bool:  # after the status
        events = lab.control.ask("GET", "/apis/events.k8s.io/v1/namespaces/team/events")["items"]
        return any(e["note"].endswith("\nlog: strata logs fails -n team --build 1 --attempt 1") for e in events)

    lab.until(is_told)
    lab.remove_pods()
    lines = lab.printed("fails").splitlines()
    assert [line for line in lines if line.startswith("build |") and line.endswith(" last words")]
    assert [line for line in lines if line.startswith("fetch |")]
    alone = subprocess.run(
        [str(kubectl.CHECKOUT / ".venv/bin/strata"), "logs", "--from", f"{lab.host}/team/fails:1"],
        capture_output=True, text=True, check=True, env=os.environ | {"KUBECTL": "/nowhere"}, timeout=100,
    )  # fmt: skip
    assert alone.stdout.splitlines() == lines
    other = lab.logs("fails", "--build", "9")
    assert other.returncode == 1
    assert "has no build 9" in other.stderr


def test_each_attempt_is_in_the_history_and_has_its_log(lab: Lab) -> None:
    lab.killed.add("again")
    lab.apply("again", "RUN echo printed; sleep 2")
    status = lab.until(lambda: (s := lab.status("again")).get("lastSuccess") and s)
    tried = status["builds"][0]["attempts"]
    assert [(a["attempt"], a["result"]) for a in tried] == [(2, "Succeeded"), (1, "InfrastructureFailed")]
    assert "printed" in tried[1]["lastLines"]
    lab.remove_pods()
    assert " printed" in lab.printed("again", "--attempt", "1").replace("echo printed", "")
    assert "pushed " not in lab.printed("again", "--attempt", "1")
    assert "pushed " in lab.printed("again")


def test_who_may_not_read_is_told_what_it_takes(lab: Lab) -> None:
    done = lab.logs("fails", as_="ada")
    assert done.returncode == 1
    assert "you may not read" in done.stderr
    assert "pods/log" in done.stderr
    gone = lab.logs("nothing")
    assert gone.returncode == 1
    assert "is not there" in gone.stderr


def test_without_kept_logs_the_registry_has_none(lab: Lab) -> None:
    lab.apply("none", "RUN echo hidden", history={"logs": "None"})
    lab.until(lambda: lab.status("none").get("lastSuccess"))
    assert "log" not in lab.status("none")["builds"][0]
    with contextlib.closing(Registry(lab.host, insecure=True)) as client:
        assert not [tag for tag in client.tags("team/none") if tag.startswith(contract.LOG_TAG_PREFIX)]
    lab.remove_pods()
    done = lab.logs("none")
    assert done.returncode == 1
    assert "names no place" in done.stderr
