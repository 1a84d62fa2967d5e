"""What a build has printed, read from its pod while there is one, and from the registry when it is gone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support import e2e, kubectl

STRATA = str(kubectl.CHECKOUT / ".venv/bin/strata")
FAILS = "FROM busybox:1.36\nRUN echo first words; echo last words; exit 7\n"
WORKS = "FROM busybox:1.36\nRUN echo said by the step\n"
SLOW = "FROM busybox:1.36\nRUN echo began; sleep 12\n"


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """Where steps may run, with a Registry that is reached from within the cluster alone."""
    made = namespaces("baseline", "logs")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def command(home: e2e.Namespace, *words: str) -> list[str]:
    where = home.k.where
    return [STRATA, "logs", *words, "-n", home.name, "--kubeconfig", str(where.kubeconfig)]


def environment(home: e2e.Namespace) -> dict[str, str]:
    folder = home.k.where.bin_dir
    return kubectl.environment() | {"KUBECTL": str(Path(folder) / "kubectl") if folder else "kubectl"}


def logs(home: e2e.Namespace, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(home, *words), env=environment(home), capture_output=True, text=True, timeout=120, check=False
    )


def printed(home: e2e.Namespace, *words: str) -> str:
    done = logs(home, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def remove_pods(home: e2e.Namespace, name: str) -> None:
    for job in home.jobs(name):
        home("delete", "job", job, "--cascade=foreground")
    home.until("the pods are gone", lambda: not home.pods(name), name=name)


def ended(home: e2e.Namespace, name: str) -> None:
    """Push ends a little later than the container that failed."""
    phases = lambda: {pod["status"]["phase"] for pod in home.pods(name)}  # noqa: E731
    home.until("the pods have ended", lambda: phases() <= {"Succeeded", "Failed"}, name=name)


def test_a_step_that_failed_is_read_in_the_status_and_when_its_pod_is_gone(home):
    home.apply(e2e.image_build("fails", FAILS))
    home.wait("fails", "Ready", "False", reason="RunFailed", seconds=120)
    entry = home.status("fails")["builds"][0]
    (attempt,) = entry["attempts"]
    assert (attempt["attempt"], attempt["result"]) == (1, "RunFailed")
    assert attempt["lastLines"] == "first words\nlast words"
    ended(home, "fails")
    lines = printed(home, "fails").splitlines()
    assert [line for line in lines if line.startswith("build |") and line.endswith(" last words")]
    assert [line for line in lines if line.startswith("fetch |")]
    events = json.loads(home("get", "events", "-o", "json", "--field-selector", "reason=RunFailed"))["items"]
    assert any(f"strata logs fails -n {home.name} --build 1 --attempt 1" in e["message"] for e in events), events
    remove_pods(home, "fails")
    kept = printed(home, "fails").splitlines()
    assert [line for line in kept if line.startswith("build |") and line.endswith(" last words")]
    assert [line for line in kept if line.startswith("fetch |")]
    assert printed(home, "fails", "--build", "1", "--attempt", "1").splitlines() == kept
    missing = logs(home, "fails", "--build", "2")
    assert missing.returncode == 1
    assert "has no build 2" in missing.stderr


@pytest.mark.parametrize(("name", "text"), [("works", WORKS), ("layers", "FROM busybox:1.36\nENV A=1\n")])
def test_a_build_that_went_well_is_read_when_its_pod_is_gone(home, name, text):
    status = home.build(e2e.image_build(name, text))
    assert [(a["attempt"], a["result"]) for a in status["builds"][0]["attempts"]] == [(1, "Succeeded")]
    remove_pods(home, name)
    kept = printed(home, name, "--timestamps")
    assert "pushed " in kept
    assert ("said by the step" in kept) == (name == "works")


def test_each_attempt_is_in_the_history_and_has_its_log(home):
    home.apply(e2e.image_build("again", SLOW))
    home.until("the step runs", lambda: " began" in home.logs("again").replace("echo began", ""), name="again")
    (pod,) = home.pods("again")
    home("delete", "pod", pod["metadata"]["name"])
    status = home.wait("again", seconds=150)
    tried = status["builds"][0]["attempts"]
    assert [(a["attempt"], a["result"]) for a in tried] == [(2, "Succeeded"), (1, "InfrastructureFailed")]
    assert "the builder pod was deleted" in tried[1]["message"] or "vanished" in tried[1]["message"]
    first = printed(home, "again", "--attempt", "1")
    assert " began" in first.replace("echo began", "")
    assert "pushed " not in first
    assert "pushed " in printed(home, "again")


def test_a_build_is_followed_to_its_end(home):
    home.apply(e2e.image_build("followed", SLOW))
    done = logs(home, "followed", "--follow")
    assert done.returncode == 0, done.stderr
    assert {line.partition(" ")[0] for line in done.stdout.splitlines()} == {"fetch", "build", "push"}
    assert " began" in done.stdout
    assert "pushed " in done.stdout
    assert done.stderr.rstrip().endswith("build 1: Succeeded")


def test_what_is_not_there_is_told(home):
    done = logs(home, "nothing")
    assert done.returncode == 1
    assert "is not there" in done.stderr
    assert "-n" in done.stderr
