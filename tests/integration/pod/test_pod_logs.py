"""The log of an attempt, from steps that really print to a registry from which it is read when the pod is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strata_builder import contract
from strata_builder.buildlog import artifact, segments, text
from strata_builder.registry.client import Registry
from support import pods, registry_process

BINARY = registry_process.find_binary()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one"),
]
CHROOT = "support.chroot_roots"
TAG = "cache-log-0123456789"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as process:
        pods.push_base(process.host, "library/busybox", "1", tmp_path_factory.mktemp("base"))
        yield process.host


def request(
    registry: str, name: str, number: int = 1, keep: tuple[int, ...] = (), attempt: int = 1, **fields: object
) -> contract.BuildRequest:
    given = {"insecure_registries": (registry,), "isolation": "InPlace", **fields}
    made = pods.request(registry, dockerfile_inline=True, log=contract.KeptLog(TAG, keep), **given)
    build = replace(pods.ID, number=number, attempt=attempt)
    return replace(made, build=build, output=replace(made.output, repository=f"team/{name}"))


def run(pod: pods.Pod) -> dict[str, int]:
    containers = [pod.start("push"), pod.start("build", CHROOT), pod.start("fetch")]
    return {one.home.name: one.wait() for one in containers}


def entries(registry: str, name: str) -> tuple[artifact.Entry, ...]:
    with contextlib.closing(Registry(registry, insecure=True)) as client:
        return artifact.entries(client, f"team/{name}", TAG)


def kept(registry: str, name: str, place: int = 0) -> list[text.Line]:
    with contextlib.closing(Registry(registry, insecure=True)) as client:
        entry = artifact.entries(client, f"team/{name}", TAG)[place]
        return [text.parsed(line) for line in artifact.lines(client, f"team/{name}", entry)]


def shown(lines: list[text.Line], container: str = "") -> str:
    return "\n".join(line.text for line in lines if container in ("", line.container))


def build(folder: Path, registry: str, name: str, runs: str, number: int = 1, **more: object) -> pods.Pod:
    secrets = more.pop("secrets", {})
    made = request(registry, name, number, secrets=tuple(secrets), **more)  # type: ignore[arg-type, call-overload]
    lines = f"FROM {registry}/library/busybox:1\n{runs}\n"
    return pods.Pod(folder, made, {}, lines, secrets=secrets)  # type: ignore[arg-type]


def test_the_log_of_a_build_that_went_well_has_what_all_three_said_in_order(tmp_path: Path, registry: str) -> None:
    with build(tmp_path, registry, "good", "RUN echo one\nRUN echo two") as pod:
        assert set(run(pod).values()) == {0}, pod.started[1].log
    lines = kept(registry, "good")
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    assert [line.container for line in lines if " one" in line.text or "plan made" in line.text] == [
        "fetch",
        "build",
        "build",
    ]
    assert shown(lines).index(" one") < shown(lines).index(" two") < shown(lines).index("pushed ")
    assert "pushed " in shown(lines, "push")
    (entry,) = entries(registry, "good")
    assert (entry.number, entry.attempt, entry.result) == (1, 1, "Succeeded")


def test_the_log_of_a_failed_build_is_kept_in_a_repository_that_nothing_was_pushed_to(
    tmp_path: Path, registry: str
) -> None:
    with build(tmp_path, registry, "fails", "RUN echo before; echo boom >&2; exit 3") as pod:
        codes = run(pod)
        assert codes == {"push": 12, "build": 11, "fetch": 12}
        failure = pod.started[1].failure()
    assert failure.log.splitlines() == ["before", "boom"]
    lines = kept(registry, "fails")
    assert "boom" in shown(lines, "build")
    assert "exit code 3" in shown(lines, "build")  # also what the container says at its very end
    assert entries(registry, "fails")[0].result == "Failed"


def test_a_step_that_was_killed_leaves_what_it_had_printed(tmp_path: Path, registry: str) -> None:
    with build(tmp_path, registry, "killed", "RUN echo running && sleep 60") as pod:
        push, one, fetch = pod.start("push"), pod.start("build", CHROOT), pod.start("fetch")
        pods.eventually(pod.folder / "shared/outputs/log/head")
        registry_waits(lambda: " running" in one.log.replace("echo running", ""))
        os.kill(one.process.pid, signal.SIGKILL)
        assert (push.wait(), fetch.wait()) == (12, 12)
    assert " running" in shown(kept(registry, "killed"), "build")


def registry_waits(ready) -> None:
    import time

    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def may_push(server: registry_process.RegistryProcess) -> bool:
    """Push has begun an upload to learn whether it may, and has taken it back."""
    ended = (line for line in server.log.splitlines() if "response completed" in line)
    return any("method=DELETE" in line and "/blobs/uploads/" in line for line in ended)


def test_the_log_of_a_pod_that_is_deleted_is_kept_within_its_grace(tmp_path: Path, registry: str) -> None:
    with build(tmp_path, registry, "deleted", "RUN echo running && sleep 60") as pod:
        three = [pod.start("push"), pod.start("build", CHROOT), pod.start("fetch")]
        pods.eventually(pod.folder / "shared/outputs/log/head")
        registry_waits(lambda: " running" in three[1].log.replace("echo running", ""))
        for one in three:
            os.kill(one.process.pid, signal.SIGTERM)
        for one in three:
            one.wait(14)
    assert " running" in shown(kept(registry, "deleted"), "build")


SECRET = "RUN --mount=type=secret,id=token,target=/s/t cat /s/t > /copy; cat /s/t\nRUN echo later; cat /copy; exit 1"


def test_no_secret_is_in_the_log_nor_in_what_is_said_of_the_failure(tmp_path: Path, registry: str) -> None:
    """Neither of the step that has it, nor of a later one that prints what that has left."""
    with build(tmp_path, registry, "secret", SECRET, secrets={"token": "s3cret-value\nsecond-line"}) as pod:
        assert run(pod)["build"] == 11
        said = (pod.folder / "build/termination/message").read_text()
        live = [one.log for one in pod.started]
    lines = shown(kept(registry, "secret"))
    assert lines.count("***") >= 4
    assert "later" in lines
    for written in (lines, said, *live):
        assert "s3cret-value" not in written
        assert "second-line" not in written


HOSTILE = (
    r"RUN printf '\033[2J\033]0;owned\007red\033[31m\n\000\001\010back\n0%%\r50%%\r100%%\n\377\376 bytes\n'; exit 1"
)


def test_hostile_bytes_arrive_as_text(tmp_path: Path, registry: str) -> None:
    with build(tmp_path, registry, "hostile", HOSTILE) as pod:
        assert run(pod)["build"] == 11
    lines = kept(registry, "hostile")
    assert all(line.text.replace("\t", " ").isprintable() or "�" in line.text for line in lines)
    whole = shown(lines, "build")
    assert "\x1b" not in whole
    assert any(line.text.endswith(" red") for line in lines)
    assert any("0% … 100%" in line.text for line in lines)


def test_a_log_of_many_megabytes_is_kept_from_both_ends(tmp_path: Path, registry: str) -> None:
    text = "0123456789" * 6
    runs = f"RUN i=0; while [ $i -lt 40000 ]; do echo $i-{text}; i=$((i+1)); done"
    with build(tmp_path, registry, "much", f"{runs}; exit 1") as pod:
        assert run(pod)["build"] == 11
        used = sum(path.stat().st_size for path in (pod.folder / "shared/outputs/log").iterdir())
    assert used < 2 * segments.STEPS.tail + segments.STEPS.head + (256 << 10)
    lines = kept(registry, "much")
    whole = shown(lines, "build")
    assert " 0-0123" in whole
    assert " 39999-0123" in whole
    assert " 20000-0123" not in whole
    (gap,) = [line for line in lines if "left out here" in line.text]
    assert int(gap.text.split()[1]) > 1_000_000
    assert len(whole) < artifact.MAX_TEXT
    assert entries(registry, "much")[0].blob.size < artifact.MAX_BLOB


def test_logs_are_kept_as_long_as_their_builds_and_each_attempt_once(tmp_path: Path, registry: str) -> None:
    for number, attempt, keep in ((1, 1, ()), (1, 2, (1,)), (2, 1, (1,)), (2, 1, (1,)), (3, 1, (2,))):
        folder = tmp_path / f"{number}-{attempt}-{len(list(tmp_path.iterdir()))}"
        with build(
            folder, registry, "many", f"RUN echo of-{number}-{attempt}", number, keep=keep, attempt=attempt
        ) as pod:
            assert set(run(pod).values()) == {0}
        found = [(entry.number, entry.attempt) for entry in entries(registry, "many")]
        expected = {
            (1, 1): [(1, 1)],
            (1, 2): [(1, 2), (1, 1)],
            (2, 1): [(2, 1), (1, 2), (1, 1)],
            (3, 1): [(3, 1), (2, 1)],
        }
        assert found == expected[number, attempt]
    assert "of-3-1" in shown(kept(registry, "many"))


def test_a_layers_pod_keeps_its_log_and_one_that_makes_way_does_not(tmp_path: Path, registry: str) -> None:
    with build(tmp_path / "1", registry, "layers", "ENV A=1", isolation="Layers") as pod:
        assert pod.start("all").wait() == 0
    assert "pushed " in shown(kept(registry, "layers"), "push")
    with build(tmp_path / "2", registry, "layers", "RUN echo x", 2, keep=(1,), isolation="Layers") as pod:
        assert pod.start("all").wait() == contract.ExitCode.NEEDS_SANDBOX
    assert [entry.number for entry in entries(registry, "layers")] == [1]


def test_a_registry_that_deletes_nothing_keeps_logs_all_the_same(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY, delete=False) as server:
        (tmp_path / "base").mkdir()
        pods.push_base(server.host, "library/busybox", "1", tmp_path / "base")
        for number, keep in ((1, ()), (2, (1,)), (3, (2,))):
            with build(tmp_path / str(number), server.host, "fixed", "RUN echo x", number, keep=keep) as pod:
                assert set(run(pod).values()) == {0}
                log = pod.started[0].log
        assert "the former list of logs stays" in log
        assert [entry.number for entry in entries(server.host, "fixed")] == [3, 2]


def test_a_registry_that_is_gone_costs_the_log_and_no_more_time_than_is_given(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as server:
        (tmp_path / "base").mkdir()
        pods.push_base(server.host, "library/busybox", "1", tmp_path / "base")
        until_gone = f"while busybox wget -q -O - http://{server.host}/v2/; do sleep 1; done"
        with build(tmp_path / "pod", server.host, "gone", f"RUN echo running; {until_gone}; exit 3") as pod:
            push, one, _ = pod.start("push"), pod.start("build", CHROOT), pod.start("fetch")
            registry_waits(lambda: " running" in one.log.replace("echo running", ""))
            registry_waits(lambda: may_push(server))  # else push finds nobody to ask, and that is its failure
            server.stop()
            assert one.wait() == 11
            assert push.wait(30) == 12
            assert "warning: the log is not kept" in push.log
