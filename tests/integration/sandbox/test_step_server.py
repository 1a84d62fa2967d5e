"""The process from which steps are forked: what it gives them, what it keeps, and what ends with it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from strata_builder import errors
from strata_builder.sandbox import command, launcher, roots
from support.sandboxes import BUSYBOX, LocalBlobs, Steps, busybox_items, tmpfs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(name="scratch")
def _scratch(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "scratch") as place:
        yield place


@pytest.fixture(name="blobs")
def _blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture(name="stages")
def _stages(scratch: Path, blobs: LocalBlobs) -> Iterator[Callable[..., list[Steps]]]:
    """Makes stages of one build."""
    base = blobs.must_add(busybox_items())
    made: list[roots.UserNSRoots] = []

    def stages(count: int, **options: Any) -> list[Steps]:
        made.append(roots.UserNSRoots(scratch / f"roots-{len(made)}", blobs, scratch / "caches", **options))
        return [Steps(made[-1].open(), blobs, [base]) for _ in range(count)]

    yield stages
    for places in made:
        places.close()


def server_of(steps: Steps) -> int:
    pid: int = steps.root._launcher._process.pid
    return pid


def at_rest(pid: int) -> int:
    """How many descriptors the server has once it has closed a step's: that the step has ended it tells before."""
    found = -1
    while found != (found := descriptors(pid)):
        time.sleep(0.2)
    return found


def in_threads(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each returns or raises, all called at once."""

    def result(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except errors.BuildError as error:
            return error

    with futures.ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(result, call) for call in calls]]


def processes(marker: str) -> list[int]:
    """Those with `marker` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


#: Ends once `count` of its kind run, and only then.
MEETING = "touch /c/{n}; until [ $(ls /c | wc -l) -ge {count} ]; do sleep 0.05; done"
#: Fails where a third runs beside it.
ALONE = "mkdir /c/{n}; [ $(ls /c | wc -l) -le 2 ] || exit 3; sleep 0.1; rmdir /c/{n}"


@pytest.mark.parametrize(("script", "count", "options"), [(MEETING, launcher.MAX_STEPS, {}), (ALONE, 7, {"steps": 2})])
def test_as_many_steps_run_at_once_as_there_are_places(stages, script: str, count: int, options):
    shared = command.MountSpec("cache", b"/c", id="shared")
    calls = [
        lambda n=n, each=each: each.run(script.format(n=n, count=count), mounts=(shared,), timeout=300)
        for n, each in enumerate(stages(count, **options))
    ]
    assert in_threads(calls) == [command.Outcome(0)] * count


def test_a_step_that_waits_for_a_place_can_be_ended(stages):
    first, second = stages(2, steps=1)
    running = threading.Thread(target=first.run, args=("sleep 300",))
    running.start()
    until(lambda: second.root._launcher._places._value == 0, "the first step has its place")
    second.cancel.set()
    with pytest.raises(errors.Cancelled, match="waited for others"):
        second.run("true")
    second.cancel.clear()
    with pytest.raises(errors.DeadlineExceeded, match="waited for others"):
        second.run("true", timeout=0.1)
    first.cancel.set()
    running.join()
    assert second.run("true") == command.Outcome(0)


#: Signals 32 and 33, which no program can set: glibc's posix_spawn, by which make starts programs, may leave them ignored.
_OF_THE_C_LIBRARY = 0b11 << 31


def test_a_step_has_three_descriptors_its_environment_and_no_habits_of_ours(stages, monkeypatch: pytest.MonkeyPatch):
    """Beside others, and after others; under nohup, too."""
    monkeypatch.setenv("REGISTRY_PASSWORD", "hunter2")
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    script = (
        "ls /proc/self/fd | wc -l; tr '\\0' ' ' < /proc/1/environ; echo; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; "
        "cut -d' ' -f4-7 /proc/1/stat; umask; cat /proc/1/oom_score_adj; readlink /proc/1/cwd; ulimit -n"
    )
    calls = [lambda each=each: (each.run(script), each.said().splitlines())[1] for each in stages(8)]
    signal.signal(signal.SIGHUP, ignoring)
    for said in (*in_threads(calls), calls[0]()):
        assert said[0] == "4"  # with the one that ls reads
        assert said[1].split() == ["PATH=/bin", "HOME=/root"]
        signals = dict(line.split(":\t") for line in said[2:5])
        assert int(signals["SigBlk"], 16) == int(signals["SigIgn"], 16) & ~_OF_THE_C_LIBRARY == 0
        assert said[5].split() == ["0", "1", "1", "0"]  # no parent; leader of its group and session; no terminal
        assert said[6] == "0022"
        assert said[7] == Path("/proc/self/oom_score_adj").read_text().strip()
        assert said[8] == "/"
        assert said[9] == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_a_step_may_signal_its_own_group_and_reaches_nobody_else(stages):
    first, second = stages(2)
    running = threading.Thread(target=second.run, args=("sleep 2; exit 7",))
    running.start()
    assert first.run("kill -9 0; kill -9 -1; echo on") == command.Outcome(0)
    running.join()
    assert second.run("true") == command.Outcome(0)


def test_nothing_of_a_step_stays_in_the_server(stages):
    (steps,) = stages(1)
    secret = secrets.token_hex(16).encode()
    mount = command.MountSpec("secret", b"/run/secrets/s", content=secret)
    steps.step("test -s /run/secrets/s; sleep 0.1", mounts=(mount,))
    before = at_rest(server_of(steps))
    for number in range(20):
        steps.run(f"exit {number}", mounts=(mount,))
    assert at_rest(server_of(steps)) == before
    assert secret not in memory_of(server_of(steps))
    assert secret in memory_of(os.getpid())  # it can be found where it is


def test_no_descriptor_is_left_in_the_builder(stages):
    (steps,) = stages(1)
    steps.run("true")
    before = descriptors(os.getpid())
    for script in ("true", "exit 3", "sleep 300"):
        steps.run(script, timeout=0.5)
    with pytest.raises(errors.DockerfileInvalid):
        steps.run("true", cwd=b"/etc/passwd")
    until(lambda: descriptors(os.getpid()) == before, "all descriptors are closed")  # threads of other tests have some


@pytest.mark.parametrize("uid", [0, 1000])
def test_the_end_of_the_server_is_an_error_that_says_so_and_the_end_of_its_steps(stages, uid: int):
    marker = secrets.token_hex(8)
    steps, other = stages(2)

    def kill() -> None:
        until(lambda: bool(processes(marker)), "the step runs")
        os.kill(server_of(steps), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(errors.InfrastructureFailed, match="that starts steps has ended with signal SIGKILL"):
        steps.run(f": {marker}; (while sleep 1; do :; done) & wait", uid=uid)
    killer.join()
    until(lambda: not processes(marker), "its processes end")
    with pytest.raises(errors.InfrastructureFailed, match="that starts steps has ended with signal SIGKILL"):
        other.run("true")


def test_where_the_server_has_no_descriptors_left_the_step_fails_and_the_next_one_runs(stages, monkeypatch):
    monkeypatch.setattr(launcher, "_LAST_WORD", 0.1)
    (steps,) = stages(1)
    steps.run("true")
    limits = resource.prlimit(server_of(steps), resource.RLIMIT_NOFILE)
    resource.prlimit(server_of(steps), resource.RLIMIT_NOFILE, (at_rest(server_of(steps)) + 1, limits[1]))
    with pytest.raises(errors.InfrastructureFailed, match="was not made"):
        steps.run("true")
    resource.prlimit(server_of(steps), resource.RLIMIT_NOFILE, limits)
    assert steps.run("true") == command.Outcome(0)


def test_where_no_process_can_be_made_the_step_fails_and_the_next_one_runs(stages):
    (steps,) = stages(1)
    steps.run("true")
    with (
        no_more_processes(server_of(steps)),
        pytest.raises(errors.InfrastructureFailed, match=r"set up: .*unavailable"),
    ):
        steps.run("true")
    assert steps.run("true") == command.Outcome(0)


def test_a_killed_builder_leaves_no_process(scratch: Path):
    marker = secrets.token_hex(8)
    driver = Path(__file__).with_name("killed_build.py")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY / 'builder'}:{REPOSITORY / 'tests'}"}
    with subprocess.Popen([sys.executable, driver, scratch, marker], env=env) as builder:
        until(lambda: len(set(map(_owner, processes(f": {marker}")))) == 2, "both steps run")
        server = [
            pid for pid in _children(builder.pid) if b"sandbox.server" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(server) == 1
        builder.kill()
    until(lambda: not processes(marker), "its steps end")
    until(lambda: not Path(f"/proc/{server[0]}").exists(), "its server ends")
    assert str(scratch / "roots") not in Path("/proc/self/mounts").read_text()


@contextlib.contextmanager
def no_more_processes(pid: int) -> Iterator[None]:
    """Puts the process `pid` for a while into a control group that is full with it: cgroup-v1/pids.rst."""
    hierarchy = Path("/sys/fs/cgroup/pids")
    group = (hierarchy if hierarchy.exists() else hierarchy.parent) / f"strata-test-{secrets.token_hex(4)}"
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    home = next(path for _, controllers, path in lines if controllers == ("pids" if hierarchy.exists() else ""))
    group.mkdir()
    try:
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(pid))
        yield
        (group.parent / home.lstrip("/") / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_of(pid: int) -> bytes:
    """All of it that can be written to."""
    found = bytearray()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match:
                first, end = (int(text, 16) for text in match.groups())
                memory.seek(first)
                found += memory.read(end - first)
    return bytes(found)


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
