"""`strata logs`: which attempt is meant, where its log is looked for, and what is said when it is nowhere."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strata_builder import contract
from strata_builder.buildlog import artifact, text
from strata_builder.cli import arguments, main
from strata_builder.cli.logs import builds, kubectl, live
from strata_builder.oci import manifest, mediatypes
from strata_builder.registry.client import Registry
from support.fake_registry import FakeRegistry

Body = dict[str, Any]
TAG = "cache-log-0123456789"
GET = "get imagebuilds.strata.build web -n team -o json"


def image_build(current: Body | None = None, ended: list[Body] | None = None, **status: Any) -> Body:
    found = {"current": current or {}, "builds": ended or [], **status}
    return {
        "metadata": {"name": "web", "namespace": "team"},
        "spec": {"output": {"registry": {"name": "main"}}},
        "status": found,
    }


class Cluster:
    """A kubectl that answers by its arguments, and writes down what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules: list[str] = []
        self.program = folder / "kubectl"
        self.asked = folder / "asked"
        self.asked.touch()

    def answers(self, arguments: str, out: Any = "", err: str = "", code: int = 0) -> None:
        name = self.folder / f"answer-{len(self.rules)}"
        name.write_text(out if isinstance(out, str) else json.dumps(out))
        (self.folder / f"{name.name}.err").write_text(err)
        self.rules.append(f"  '{arguments}') cat {name}; cat {name}.err >&2; exit {code};;")
        lines = ["#!/bin/sh", f'echo "$*" >> {self.asked}', 'case "$*" in', *self.rules]
        self.program.write_text("\n".join([*lines, '  *) echo "unexpected: $*" >&2; exit 1;;', "esac", ""]))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    made = Cluster(tmp_path)
    monkeypatch.setenv("KUBECTL", str(made.program))
    made.answers("get registries.strata.build main -n team -o json", err="Error from server (Forbidden): no", code=1)
    made.answers("get secrets strata-pull -n team -o json", err="Error from server (Forbidden): no", code=1)
    return made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


def keep(registry: FakeRegistry, number: int, attempt: int, *lines: str, repository: str = "team/web") -> None:
    data = artifact.pack(lines)
    entry = artifact.made(number, attempt, "Failed", f"2026-11-29T10:00:0{number}Z", data)
    with contextlib.closing(Registry(registry.host, insecure=True)) as client:
        artifact.add(client, repository, TAG, entry, data, keep=range(20), imagebuild="team/web")


def run(*words: str) -> int:
    return main(["logs", *words])


# -- which one is meant --

TRIED = [{"attempt": 2, "result": "Succeeded"}, {"attempt": 1, "result": "InfrastructureFailed"}]
THREE = {"number": 3, "result": "Succeeded", "log": "r/x:t", "attempts": TRIED}
TWO = {"number": 2, "result": "RunFailed", "log": "r/x:t"}
RUNNING = {"number": 4, "attempt": 1, "phase": "Running", "job": "j", "log": "r/x:t"}
WAITING = {"number": 4, "phase": "Pending"}
MEANT = [
    (RUNNING, 0, 0, builds.Chosen(4, 1, "r/x:t", "j")),
    (WAITING, 0, 0, builds.Chosen(3, 2, "r/x:t", "", "Succeeded")),
    (RUNNING, 3, 0, builds.Chosen(3, 2, "r/x:t", "", "Succeeded")),
    (RUNNING, 3, 1, builds.Chosen(3, 1, "r/x:t", "", "Succeeded")),
    (RUNNING, 2, 0, builds.Chosen(2, 0, "r/x:t", "", "RunFailed")),
    ({**RUNNING, "attempt": 3}, 4, 1, builds.Chosen(4, 1, "r/x:t")),
    (
        {"number": 3, "attempt": 2, "phase": "Succeeded", "job": "j"},
        0,
        0,
        builds.Chosen(3, 2, "r/x:t", "j", "Succeeded"),
    ),
]


@pytest.mark.parametrize(("current", "number", "attempt", "chosen"), MEANT)
def test_the_newest_that_has_run_is_meant_unless_another_is_named(current, number, attempt, chosen):
    assert builds.choose(image_build(current, [THREE, TWO]), number, attempt) == chosen


@pytest.mark.parametrize(
    ("number", "attempt", "said", "hint"),
    [(9, 0, "no build 9", "4, 3, 2"), (3, 7, "no attempt 7", "1, 2"), (1, 0, "no build 1", "spec.history")],
)
def test_what_the_status_does_not_tell_of_is_told_with_what_it_does(number, attempt, said, hint):
    with pytest.raises(builds.NoSuchBuild) as failure:
        builds.choose(image_build(RUNNING, [THREE, TWO]), number, attempt)
    assert said in failure.value.message
    assert hint in failure.value.hint


@pytest.mark.parametrize(
    ("current", "said"), [(WAITING, "has not run yet: Queued: third"), ({}, "has not been built yet")]
)
def test_one_that_was_never_built_says_so(current, said):
    body = image_build(current, conditions=[{"type": "Building", "reason": "Queued", "message": "third"}])
    with pytest.raises(builds.NoSuchBuild, match=said) as failure:
        builds.choose(body, 0, 0)
    assert "--follow" in failure.value.hint


# -- the command line --

WRONG = [
    ([], "name an ImageBuild"),
    (["web", "--from", "r/x"], "--from takes no ImageBuild"),
    (["web", "--follow", "--build", "3"], "--follow"),
    (["web", "--build", "0"], "--build is 1 or more"),
    (["web", "--build", "x"], "invalid int"),
    (["--from", "registry.example/team/web:latest"], "number of a build"),
    (["--from", "registry.example/team/web:3", "--build", "4"], "build 3, and --build 4"),
    (["--from", "registry.example/team/web:0"], "number of a build"),
    (["--from", "registry.example/team/web", "--via", "http://localhost:5001"], "--via"),
    (["web", "--via", "::1"], "--via"),
    (["web", "--via", "localhost:port"], "--via"),
    (["--from", "https://registry.example/x"], "URL"),
    (["web", "more"], "unexpected argument"),
    (["web", "--tail", "5"], "unknown flag --tail"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_a_wrong_command_line_is_told(words, said, capsys):
    assert run(*words) in (contract.ExitCode.USAGE, contract.ExitCode.FAILED)
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


# -- from the pod --

POD = {
    "metadata": {"name": "p", "namespace": "team", "uid": "u"},
    "spec": {"containers": [{"name": "fetch"}, {"name": "build"}, {"name": "push"}, {"name": "istio-proxy"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {"name": "build", "state": {"running": {}}},
            {"name": "fetch", "state": {"terminated": {"exitCode": 0}}},
            {"name": "push", "state": {"waiting": {"reason": "ContainerCreating"}}},
            {"name": "istio-proxy", "state": {"running": {}}},
        ],
    },
}
PODS = "get pods -n team -l batch.kubernetes.io/job-name=j -o json"


def test_while_there_is_a_pod_its_containers_are_shown_in_the_order_of_time(cluster, capsys):
    cluster.answers(GET, image_build(RUNNING))
    cluster.answers(PODS, {"items": [POD]})
    cluster.answers("logs p -c fetch -n team --timestamps", "2026-11-29T10:00:00Z a\n2026-11-29T10:00:02Z c\n")
    cluster.answers("logs p -c build -n team --timestamps", "2026-11-29T10:00:01Z \x1b[2Jb\n2026-11-29T10:00:03Z d\n")
    assert run("web", "-n", "team") == 0
    assert capsys.readouterr().out == "fetch | a\nbuild | b\nfetch | c\nbuild | d\n"
    assert "istio-proxy" not in cluster.asked.read_text()


def test_a_carriage_return_ends_no_line_of_a_pod(cluster, capsys):
    """Of a progress bar the ends are shown, as in the kept log, and what follows one is no line that has a time."""
    cluster.answers(GET, image_build(RUNNING))
    cluster.answers(PODS, {"items": [POD]})
    bar = "2026-11-29T10:00:00Z 1%\r50%\r2031-01-01T00:00:00Z all\n2026-11-29T10:00:02Z done\n"
    cluster.answers("logs p -c build -n team --timestamps", bar)
    cluster.answers("logs p -c fetch -n team --timestamps", "2026-11-29T10:00:01Z a\r\n2026-11-29T10:00:03Z b\n")
    assert run("web", "-n", "team") == 0
    assert capsys.readouterr().out == "build | 1% … 2031-01-01T00:00:00Z all\nfetch | a\nbuild | done\nfetch | b\n"


def test_a_build_that_waits_for_its_pod_says_for_what(cluster, capsys):
    conditions = [{"type": "Building", "reason": "Unschedulable", "message": "no node takes it"}]
    cluster.answers(GET, image_build(RUNNING, conditions=conditions))
    cluster.answers(PODS, {"items": []})
    assert run("web", "-n", "team") == 0
    assert "Unschedulable: no node takes it" in capsys.readouterr().err


def test_a_build_is_followed_until_it_has_ended(cluster, capsys):
    """The containers say all they have to say at once here; that lines come while they are printed, e2e tests see."""
    ended = image_build({**RUNNING, "phase": "Succeeded"})
    cluster.answers(GET, image_build(RUNNING))
    cluster.answers(PODS, {"items": [POD]})
    for name in ("fetch", "build", "push"):
        cluster.answers(f"logs p -c {name} -n team --timestamps -f", f"2026-11-29T10:00:00Z {name}\n")
    program = cluster.program.read_text()
    seen, later = cluster.folder / "seen", cluster.folder / "later"
    once = f"  '{GET}') if [ -e {seen} ]; then cat {later}; exit 0; fi; touch {seen}; "
    later.write_text(json.dumps(ended))
    cluster.program.write_text(program.replace(f"  '{GET}') ", once))
    assert run("web", "-n", "team", "--follow") == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["build | build", "fetch | fetch", "push  | push"]
    assert err.endswith("build 4: Succeeded\n")


def test_of_a_pod_that_has_ended_no_container_is_waited_for_that_never_started(cluster, capsys):
    """What comes first could not install the builder: kubectl says of the others for ever that they are waiting."""
    names = ("install", "fetch", "push")
    spec = {"initContainers": [{"name": "install"}], "containers": [{"name": "fetch"}, {"name": "push"}]}
    states = [{"name": "install", "state": {"terminated": {"exitCode": 1}}}]
    pod = {**POD, "spec": spec, "status": {"phase": "Failed", "initContainerStatuses": states}}
    cluster.answers("get pods p -n team -o json", pod)
    for name in names[1:]:
        why = f'Error from server (BadRequest): container "{name}" in pod "p" is waiting to start: PodInitializing'
        cluster.answers(f"logs p -c {name} -n team --timestamps -f", err=why, code=1)
    cluster.answers("logs p -c install -n team --timestamps -f", "2026-11-29T10:00:00Z no space left\n")
    shown: list[text.Line] = []
    reader = threading.Thread(
        target=lambda: shown.extend(live.as_it_comes(kubectl.Kubectl(program=str(cluster.program)), pod)), daemon=True
    )
    reader.start()
    reader.join(10)
    assert not reader.is_alive()
    assert [line.text for line in shown] == ["no space left"]


def test_whoever_has_seen_enough_leaves_no_kubectl_behind(cluster):
    """As `strata logs web --follow | head` does: they would hold their connections until the containers end."""
    cluster.program.write_text(
        "#!/bin/sh\necho $$ >> $(dirname $0)/pids\necho 2026-11-29T10:00:00Z line\nexec sleep 60\n"
    )
    shown = live.as_it_comes(kubectl.Kubectl(program=str(cluster.program)), POD)
    assert [next(shown).text for _ in range(3)] == ["line"] * 3
    shown.close()
    started = [int(pid) for pid in (cluster.folder / "pids").read_text().split()]
    deadline = time.monotonic() + 10
    while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert (len(started), left) == (3, [])


def changed(body: Body, **meta: Any) -> Body:
    return {**body, "metadata": {**body["metadata"], **meta}}


BUILT = image_build({**RUNNING, "number": 3, "phase": "Succeeded"}, observedGeneration=1, lastHandledRebuild="a")
REBUILD, NO_CACHE = "strata.build/rebuild", "strata.build/no-cache"


@pytest.mark.parametrize(
    "meta",
    [
        {"generation": 2},
        {"generation": 1, "annotations": {REBUILD: "b"}},
        {"generation": 1, "annotations": {REBUILD: "a", NO_CACHE: "b"}},
    ],
)
def test_what_is_followed_right_after_a_change_is_the_build_that_it_begins(cluster, capsys, meta):
    told = [changed(BUILT, **meta), image_build(RUNNING), image_build({**RUNNING, "phase": "Succeeded"})]
    cluster.answers(GET, "")
    cluster.answers(PODS, {"items": [POD]})
    for name in ("fetch", "build", "push"):
        cluster.answers(f"logs p -c {name} -n team --timestamps -f", f"2026-11-29T10:00:00Z {name}\n")
    for number, body in enumerate(told, 1):
        (cluster.folder / f"told-{number}").write_text(json.dumps(body))
    count = f"echo >> {cluster.folder}/count; cat {cluster.folder}/told-$(wc -l < {cluster.folder}/count); exit 0; "
    cluster.program.write_text(cluster.program.read_text().replace(f"  '{GET}') ", f"  '{GET}') {count}"))
    assert run("web", "-n", "team", "--follow") == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["build | build", "fetch | fetch", "push  | push"]
    assert "not looked yet" in err
    assert err.endswith("build 4: Succeeded\n")


@pytest.mark.parametrize(
    ("meta", "spec", "ready"),
    [
        ({"annotations": {REBUILD: "a"}}, {}, "Succeeded"),
        ({"annotations": {REBUILD: ""}}, {}, "Succeeded"),
        ({"annotations": {REBUILD: "b"}}, {"suspend": True}, "Succeeded"),
        ({"annotations": {REBUILD: "b"}}, {}, "InvalidSpec"),
        ({"annotations": {REBUILD: "b"}, "deletionTimestamp": "2026-11-29T10:00:00Z"}, {}, "Succeeded"),
    ],
)
def test_what_begins_no_build_is_not_waited_for(meta, spec, ready):
    status = {**BUILT["status"], "conditions": [{"type": "Ready", "reason": ready}]}
    assert not builds.is_news({**changed(BUILT, generation=1, **meta), "spec": spec, "status": status})


def test_an_annotation_longer_than_what_the_operator_keeps_is_seen_in_the_end():
    body = image_build(observedGeneration=1, lastHandledRebuild="x" * 256)
    assert not builds.is_news(changed(body, generation=1, annotations={REBUILD: "x" * 300}))


def test_lines_that_come_late_are_put_where_they_belong():
    lines: queue.Queue[Any] = queue.Queue()
    for second, name in ((3, "a"), (1, "b"), (2, "a")):
        lines.put(text.Line(f"2026-11-29T10:00:0{second}Z", name, str(second)))
    lines.put(None)
    lines.put(None)
    assert [line.text for line in live.ordered(lines, 2)] == ["1", "2", "3"]


def test_lines_are_shown_while_their_containers_go_on():
    lines: queue.Queue[Any] = queue.Queue()
    shown = live.ordered(lines, 1, window=0.01)
    lines.put(text.Line("2026-11-29T10:00:00Z", "build", "first"))
    assert next(shown).text == "first"
    late = threading.Timer(0.1, lines.put, [text.Line("2026-11-29T09:00:00Z", "build", "second")])
    late.start()
    assert next(shown).text == "second"
    lines.put(ValueError("boom"))
    with pytest.raises(ValueError, match="boom"):
        next(shown)
    late.join()


def test_once_all_containers_have_ended_nothing_is_held_back():
    lines: queue.Queue[Any] = queue.Queue()
    lines.put(text.Line("", "build", "x"))
    lines.put(None)
    assert [line.text for line in live.ordered(lines, 1, window=float("inf"))] == ["x"]


# -- from the registry --


def test_when_the_pod_is_gone_the_log_is_read_where_the_status_says(cluster, registry, capsys):
    keep(registry, 3, 1, "2026-11-29T10:00:00Z build first attempt")
    keep(registry, 3, 2, "2026-11-29T10:00:01Z fetch second", "2026-11-29T10:00:02Z build \x1b]0;x\x07attempt")
    entry = {**THREE, "log": f"{registry.host}/team/web:{TAG}"}
    cluster.answers(GET, image_build({"number": 3, "attempt": 2, "phase": "Succeeded", "job": "j"}, [entry]))
    cluster.answers(PODS, {"items": []})
    assert run("web", "-n", "team") == 0
    assert capsys.readouterr().out == "fetch | second\nbuild | attempt\n"
    assert run("web", "-n", "team", "--attempt", "1", "--timestamps") == 0
    assert capsys.readouterr().out == "2026-11-29T10:00:00Z build | first attempt\n"


def test_who_may_not_read_pods_may_still_read_the_registry(cluster, registry, capsys):
    keep(registry, 3, 2, "2026-11-29T10:00:01Z fetch kept")
    current = {"number": 3, "attempt": 2, "phase": "Failed", "job": "j", "log": f"{registry.host}/team/web:{TAG}"}
    cluster.answers(GET, image_build(current))
    cluster.answers(PODS, err='Error from server (Forbidden): pods is forbidden: User "ada" cannot list', code=1)
    assert run("web", "-n", "team") == 0
    assert capsys.readouterr().out == "fetch | kept\n"


def test_who_may_not_read_pods_is_told_so_where_nothing_is_kept(cluster, capsys):
    cluster.answers(GET, image_build({"number": 3, "attempt": 2, "phase": "Failed", "job": "j"}))
    cluster.answers(PODS, err='Error from server (Forbidden): pods is forbidden: User "ada" cannot list', code=1)
    assert run("web", "-n", "team") == contract.ExitCode.FAILED
    err = capsys.readouterr().err
    assert "names no place" in err
    assert 'you may not read pods: Error from server (Forbidden): pods is forbidden: User "ada"' in err


@pytest.mark.parametrize("said", ["dial tcp 10.0.0.7:10250: i/o timeout", "dial tcp 10.0.0.7:10250: no route to host"])
def test_when_the_node_of_an_ended_pod_does_not_answer_what_was_kept_is_read(cluster, registry, capsys, said):
    keep(registry, 3, 2, "2026-11-29T10:00:01Z fetch kept", "2026-11-29T10:00:02Z build kept, too")
    current = {"number": 3, "attempt": 2, "phase": "Failed", "job": "j", "log": f"{registry.host}/team/web:{TAG}"}
    cluster.answers(GET, image_build(current))
    cluster.answers(PODS, {"items": [POD]})
    cluster.answers("logs p -c fetch -n team --timestamps", "2026-11-29T10:00:01Z kept\n")
    cluster.answers("logs p -c build -n team --timestamps", err=f"Error from server: Get https://n: {said}", code=1)
    assert run("web", "-n", "team") == 0
    out, err = capsys.readouterr()
    assert out == "fetch | kept\nbuild | kept, too\n"
    assert said in err


def test_the_login_of_the_namespace_is_used_if_it_may_be_read(cluster, capsys):
    login = base64.b64encode(b"puller:word").decode()
    with FakeRegistry(users={"puller": "word"}) as registry:
        client = Registry(registry.host, insecure=True, credentials=_credential("puller", "word"))
        data = artifact.pack(["- build kept"])
        entry = artifact.made(3, 2, "Failed", "2026-11-29T10:00:00Z", data)
        artifact.add(client, "team/web", TAG, entry, data, keep=(), imagebuild="team/web")
        client.close()
        config = json.dumps({"auths": {registry.host: {"auth": login}}})
        secret = {"data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()}}
        cluster.rules.clear()
        cluster.answers("get secrets strata-pull -n team -o json", secret)
        cluster.answers("get registries.strata.build main -n team -o json", {"status": {}})
        cluster.answers(GET, image_build(ended=[{**THREE, "log": f"{registry.host}/team/web:{TAG}"}]))
        assert run("web", "-n", "team") == 0
    assert capsys.readouterr().out == "build | kept\n"


def _credential(user: str, password: str) -> Any:
    from strata_builder.registry.config import Credential

    return Credential(user, password)


def test_a_log_that_is_gone_leaves_the_last_lines_of_the_status(cluster, registry, capsys):
    keep(registry, 9, 1, "- build other")
    tried = [{"attempt": 1, "result": "RunFailed", "lastLines": "one\nboom"}]
    cluster.answers(GET, image_build(ended=[{**TWO, "attempts": tried, "log": f"{registry.host}/team/web:{TAG}"}]))
    assert run("web", "-n", "team") == contract.ExitCode.FAILED
    err = capsys.readouterr().err
    assert "the log of build 2, attempt 1 of team/web is not there" in err
    assert "9/1" in err
    assert "  one\n  boom" in err
    assert "spec.history" in err


def test_a_status_that_names_no_place_says_so(cluster, capsys):
    cluster.answers(GET, image_build(ended=[{"number": 2, "result": "RunFailed"}]))
    assert run("web", "-n", "team") == contract.ExitCode.FAILED
    assert "names no place" in capsys.readouterr().err


def test_a_registry_inside_the_cluster_is_reached_by_kubectl_and_else_the_way_is_shown(cluster, capsys):
    log = f"strata-main.infra.svc:5000/team/web:{TAG}"
    cluster.answers(GET, image_build(ended=[{**THREE, "log": log}]))
    forward = "port-forward service/strata-main :5000 --address 127.0.0.1 -n infra"
    cluster.answers(forward, err='Error from server (Forbidden): pods "x" is forbidden', code=1)
    assert run("web", "-n", "team") == contract.ExitCode.RETRYABLE
    err = capsys.readouterr().err
    assert "kubectl -n infra port-forward service/strata-main 5001:5000" in err
    assert "--via localhost:5001" in err


def test_via_reaches_the_registry_at_an_address_of_ones_own(cluster, registry, capsys):
    keep(registry, 3, 2, "- build kept")
    cluster.answers(GET, image_build(ended=[{**THREE, "log": f"strata-main.infra.svc:5000/team/web:{TAG}"}]))
    assert run("web", "-n", "team", "--via", registry.host) == 0
    assert capsys.readouterr().out == "build | kept\n"


def test_a_repository_alone_gives_the_newest_log_or_the_one_of_a_number(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECTL", "/nowhere")
    keep(registry, 1, 1, "- build one")
    keep(registry, 2, 1, "- build two")
    assert run("--from", f"{registry.host}/team/web") == 0
    out, err = capsys.readouterr()
    assert out == "build | two\n"
    assert "build 2, attempt 1 (Failed, 2026-11-29T10:00:02Z)" in err
    assert run("--from", f"{registry.host}/team/web:1") == 0
    assert capsys.readouterr().out == "build | one\n"
    assert run("--from", f"{registry.host}/team/web:7") == contract.ExitCode.FAILED
    assert "2/1, 1/1" in capsys.readouterr().err


def test_what_is_no_log_under_a_logs_tag_hides_no_other(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    keep(registry, 1, 1, "- build one")
    with contextlib.closing(Registry(registry.host, insecure=True)) as client:
        index = manifest.Index(()).to_bytes()
        client.put_manifest("team/web", "cache-log-1111111111", index, mediatypes.OCI_INDEX)
    assert run("--from", f"{registry.host}/team/web") == 0
    assert capsys.readouterr().out == "build | one\n"


# -- what kubectl says --

FAULTS = [
    ('Error from server (NotFound): imagebuilds.strata.build "web" not found', kubectl.NotFound, "namespace (-n)"),
    ('Error from server (Forbidden): imagebuilds is forbidden: User "a"', kubectl.Forbidden, "--from REPOSITORY"),
    ("error: You must be logged in to the server (Unauthorized)", kubectl.Forbidden, "log in again"),
    ('error: the server doesn\'t have a resource type "imagebuilds"', kubectl.KubeError, "--context"),
    ("Unable to connect to the server: dial tcp: no such host", kubectl.Unreachable, "kubectl version"),
    ("The connection to the server localhost:8080 was refused", kubectl.Unreachable, "kubectl version"),
    ('error: context "x" does not exist', kubectl.KubeError, ""),
    ("", kubectl.KubeError, ""),
]


@pytest.mark.parametrize(("said", "kind", "hint"), FAULTS)
def test_what_kubectl_says_is_told_with_what_to_do(said, kind, hint):
    found = kubectl.fault(said, "imagebuilds web")
    assert type(found) is kind
    assert hint in found.hint
    assert "\x1b" not in kubectl.fault(f"\x1b[31m{said}", "x").message


def test_the_rights_that_are_named_are_those_that_it_takes(cluster):
    """kubectl gets a pod before its log; what is selected by a label is listed."""
    cluster.answers(GET, image_build(RUNNING))
    cluster.answers(PODS, {"items": [POD]})
    cluster.answers("logs p -c fetch -n team --timestamps", "2026-11-29T10:00:00Z a\n")
    cluster.answers("logs p -c build -n team --timestamps", "2026-11-29T10:00:01Z b\n")
    assert run("web", "-n", "team") == 0
    needed = {"get on imagebuilds.strata.build"}
    for line in cluster.asked.read_text().splitlines():
        needed |= (
            {"get and list on pods"} if " -l " in line else {"get on pods/log"} if line.startswith("logs") else set()
        )
    assert len(needed) == 3
    page = (Path(__file__).parents[3] / "docs/logs.md").read_text().replace("`", "")
    for told in (kubectl.fault("(Forbidden)", "pods").hint, arguments._LOGS, page):
        assert [right for right in needed if right not in " ".join(told.split())] == []


def test_what_kubectl_notes_for_its_own_authors_is_left_out():
    said = 'E1129 13:55:00.65 13268 memcache.go:381] "Couldn\'t get current server API group list" err="..."\n'
    found = kubectl.fault(
        f"{said}{said}The connection to the server 127.0.0.1:1 was refused - did you", "imagebuilds web"
    )
    assert (
        found.message == "the cluster does not answer: The connection to the server 127.0.0.1:1 was refused - did you"
    )


def test_without_kubectl_the_other_way_is_named(monkeypatch, capsys):
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")
    assert run("web") == contract.ExitCode.FAILED
    assert "--from REGISTRY/REPOSITORY" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["a wrapper's banner\n{}", "", "[]", "null", '{"items": 5}', "[" * 100_000])
@pytest.mark.parametrize("asked", ["imagebuild", "pods"])
def test_what_is_no_answer_of_kubectl_is_told_as_that(cluster, said, asked, capsys):
    """$KUBECTL may name any program."""
    cluster.answers(GET, said if asked == "imagebuild" else image_build(RUNNING))
    cluster.answers(PODS, said)
    assert run("web", "-n", "team") == contract.ExitCode.FAILED
    told = capsys.readouterr().err
    assert "fault of strata" not in told
    assert "error: " in told


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    out = capsys.readouterr().out
    for word in (
        "--follow",
        "--build 3",
        "--from registry.example/team/web:3",
        "pods/log",
        "Exit codes",
        "spec.history",
    ):
        assert word in out


def test_nothing_of_it_is_loaded_for_other_commands():
    import subprocess
    import sys

    code = "import sys; from strata_builder.cli import arguments; arguments.parse(['build']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if "buildlog" in name or "cli.logs" in name]
