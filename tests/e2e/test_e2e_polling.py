"""What an ImageBuild does by itself: a commit of a pooled source and of a private one, a schedule, and times that it missed."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import pytest

from support import e2e, faults, git_server, missed

FILES = {"Dockerfile": "FROM scratch\nCOPY said /said\n", "said": "one\n"}
PASSWORD = "engine-of-the-polls"


@pytest.fixture(scope="module", autouse=True)
def passing(home) -> missed.Times:
    """A time that passes while the ImageBuilds missed.MISSED are suspended. The other tests run meanwhile."""
    chosen = missed.scheduled(home, 1)
    for name in missed.MISSED:
        home.apply(missed.image_build(name, chosen, suspend=True))
        home.wait(name, "Suspended")
    return chosen


def _told(home: e2e.Namespace, name: str, line: str) -> int:
    """How many Events about it have this line."""
    return sum(line in note.splitlines() for note in home.notes(name))


def _settled(home: e2e.Namespace, name: str) -> bool:
    return bool(home.status(name)["current"]["phase"] == "Succeeded")


def test_a_commit_is_built_once_by_all_that_look_at_it_and_nothing_is_built_for_nothing(home, here):
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        pooled = git_server.Repository.make(Path(path))
        pooled.commit(FILES)
        with git_server.HttpServer(Path(path), host=here) as server:
            git = {"url": f"{server.url}/app.git", "revision": "main"}
            names = ["pooled-a", "pooled-b", "pooled-c"]
            bodies = [
                e2e.image_build(name, source={"git": git}, triggers={"git": {"pollInterval": "10s"}}) for name in names
            ]
            first = [home.build(body) for body in bodies]
            server.log.clear()
            seen = {name: home.status(name)["lastCheckedTime"] for name in names}
            home.until(
                "two more looks",
                lambda: len(server.log) >= 2 and all(home.status(n)["lastCheckedTime"] > seen[n] for n in names),
                seconds=60,
                name=names[0],
            )
            assert {path for path, _ in server.log} == {"/app.git/git-upload-pack"}
            home.apply(bodies[0])  # the same manifest again
            assert [home.status(name)["current"]["number"] for name in names] == [1, 1, 1]
            looks = len(server.log)
            commit = pooled.commit({"said": "two\n"})
            for name in names:
                home.until(
                    "the new commit",
                    lambda name=name: _settled(home, name) and home.status(name)["source"]["commit"] == commit,
                    seconds=60,
                    name=name,
                )
            statuses = [home.status(name) for name in names]
            wanted = f"trigger: CommitChanged, commit {commit[:12]} of refs/heads/main"
            for name in names:  # the end; one more where it had to wait for a place
                home.until("its event", lambda name=name: _told(home, name, wanted) >= 1, seconds=30, name=name)
    assert [status["current"]["reason"] for status in statuses] == ["CommitChanged"] * 3
    assert [status["current"]["number"] for status in statuses] == [2, 2, 2]
    assert all(status["digest"] != before["digest"] for status, before in zip(statuses, first, strict=True))
    assert looks >= 2


def test_a_private_repository_is_polled_as_soon_as_the_command_of_the_condition_was_typed(home, here, strata):
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        root = Path(path, "repositories")
        repository = git_server.Repository.make(root)
        repository.commit(FILES)
        tls, authority = git_server.server_tls(Path(path, "tls"), here)
        home.apply(e2e.secret("private", username="ada", password=PASSWORD, ca_crt=authority.decode()))
        with git_server.HttpServer(root, "ada", PASSWORD, tls=tls, host=here) as server:
            git = {"url": f"{server.url}/app.git", "revision": "main", "secretRef": {"name": "private"}}
            home.build(e2e.image_build("private", source={"git": git}, triggers={"git": {"pollInterval": "10s"}}))
            server.log.clear()
            home.wait("private", "Polling", "False", reason="AccessNotGranted")
            assert server.log == []
            assert home.conditions("private")["Ready"]["status"] == "True"
            _type(home, home.conditions("private")["Polling"]["message"])
            home.until("a poll", lambda: "Polling" not in home.conditions("private"), name="private")
            commit = repository.commit({"said": "two\n"})
            home.until(
                "the new commit",
                lambda: _settled(home, "private") and home.status("private")["source"]["commit"] == commit,
                name="private",
            )
    done = [(2, "CommitChanged", "Succeeded"), (1, "SpecChanged", "Succeeded")]
    assert missed.built(home, "private") == done
    log = strata(*faults.SYSTEM, "logs", faults.DEPLOYMENT, "--tail=-1")
    assert f"imagebuild {home.name}/private" in log
    told = log + shown(home) + home.logs("private")
    assert not [text for text in written(PASSWORD) if text in told]


def _type(home: e2e.Namespace, message: str) -> None:
    """What a message says that is to be typed."""
    _, _, command = message.partition("To let it: kubectl ")
    assert f"--namespace {home.name} " in command
    home.k(*command.split())


def shown(home: e2e.Namespace) -> str:
    """All that whoever may look into the namespace, save at its Secrets, can read."""
    return home("get", "imagebuilds,jobs,pods,configmaps,events", "-o", "yaml")


def written(password: str) -> list[str]:
    """The forms in which a password travels."""
    encoded = [base64.b64encode(text.encode()).decode() for text in (password, f"ada:{password}")]
    return [password, *encoded]


def test_a_schedule_builds_each_minute_until_it_is_suspended(home):
    body = e2e.image_build("minutely", "FROM scratch\nCOPY a /\n", source={"inline": {"a": "b"}})
    body["spec"]["triggers"] = {"schedule": {"cron": "* * * * *", "timeZone": "Europe/Berlin"}}
    first = home.build(body)
    assert first["nextScheduleTime"] > first["current"]["startTime"]
    home.until(
        "a scheduled build",
        lambda: home.status("minutely")["current"]["reason"] == "Scheduled" and _settled(home, "minutely"),
        seconds=100,
        name="minutely",
    )
    status = home.status("minutely")
    assert status["current"]["noCache"]
    home.until("its event", lambda: _told(home, "minutely", "trigger: Scheduled") >= 1, seconds=30, name="minutely")
    assert status["lastScheduleTime"].endswith(":00.000Z")
    assert status["nextScheduleTime"] > status["lastScheduleTime"]
    assert status["digest"] == first["digest"]
    body["spec"]["suspend"] = True
    home.apply(body)
    home.until("Suspended", lambda: "Suspended" in home.conditions("minutely"), seconds=30, name="minutely")


def test_a_changed_spec_and_an_annotation_are_built_at_once_and_an_event_says_which_it_was(home):
    body = e2e.image_build("asked", "FROM scratch\nCOPY a /\n", source={"inline": {"a": "one"}})
    first = home.build(body)
    body["spec"]["source"]["inline"]["a"] = "two"
    home.apply(body)
    for number, (reason, annotation) in enumerate(
        [("SpecChanged", ""), ("Rebuild", "rebuild"), ("NoCache", "no-cache")], 2
    ):
        if annotation:
            home("annotate", "--overwrite", "imagebuild/asked", f"strata.build/{annotation}=1")
        home.until(
            reason,
            lambda number=number: home.status("asked")["current"]["number"] == number and _settled(home, "asked"),
            seconds=60,
            name="asked",
        )
        status = home.status("asked")
        assert status["builds"][0]["reason"] == reason
        assert bool(status["current"].get("noCache")) is (reason == "NoCache")
        assert status["digest"] != first["digest"]
        line = f"trigger: {reason}"
        home.until("its event", lambda line=line: _told(home, "asked", line) >= 1, seconds=30, name="asked")


def test_an_image_that_is_gone_from_its_registry_is_built_again_as_soon_as_somebody_changes_what_does_not_count(home):
    first = home.build(e2e.image_build("lost", "FROM scratch\nLABEL a=1\n"))
    home("patch", "imagebuild", "lost", "--type=merge", "-p", '{"spec": {"priority": 1}}')
    home.until("Unchanged", lambda: home.conditions("lost")["Ready"]["reason"] == "Unchanged", seconds=30, name="lost")
    stored = f"/var/lib/registry/docker/registry/v2/repositories/{home.name}/lost"
    home("exec", f"deployment/strata-{e2e.REGISTRY}", "--", "rm", "-r", stored)
    home("patch", "imagebuild", "lost", "--type=merge", "-p", '{"spec": {"priority": 2}}')
    home.until(
        "another build",
        lambda: home.status("lost")["current"]["number"] == 2 and _settled(home, "lost"),
        seconds=60,
        name="lost",
    )
    status = home.status("lost")
    assert status["builds"][0]["reason"] == "ImageLost"
    assert status["digest"] == first["digest"] == home.manifest_digest("lost")
    home.until("its event", lambda: _told(home, "lost", "trigger: ImageLost") >= 1, seconds=30, name="lost")


def test_the_time_that_a_suspended_schedule_has_missed_is_a_build_or_none_as_the_spec_says(home, passing):
    """The last here: the time has passed by now, or nearly."""
    missed.until_late(home, passing)
    for name in missed.MISSED:
        home.apply(missed.image_build(name, passing))
    missed.until_made_up_for(home, passing)
