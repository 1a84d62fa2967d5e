"""Who of a pod is still there: locks of real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strata_builder.pod import alive

HOLD = """
import sys, time, pathlib
from strata_builder.pod import alive
holder = alive.Holder(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def process(tmp_path: Path) -> subprocess.Popen[str]:
    started = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "held\n"
    started.stdout.close()
    return started


def test_a_process_that_lives_and_one_that_was_killed(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    peer = alive.Peer("build", tmp_path)
    assert peer.state() is alive.State.RUNNING
    peer.check()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert peer.state() is alive.State.ENDED
    with pytest.raises(alive.PeerLost, match="build ended before its work was done"):
        peer.check()


def test_one_that_ended_well_is_not_lost(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    (tmp_path / "done").touch()
    alive.Peer("build", tmp_path, tmp_path / "done").check()


def test_one_that_never_comes_is_waited_for_a_while(tmp_path: Path) -> None:
    now = [1000.0]
    peer = alive.Peer("fetch", tmp_path, clock=lambda: now[0])
    assert peer.state() is alive.State.ABSENT
    now[0] += alive.PATIENCE
    peer.check()
    now[0] += 1
    with pytest.raises(alive.PeerLost, match="fetch did not start within 120 s"):
        peer.check()


def test_a_look_from_another_process_does_not_take_the_lock_away(
    tmp_path: Path, process: subprocess.Popen[str]
) -> None:
    peer = alive.Peer("build", tmp_path)
    for _ in range(3):
        assert peer.state() is alive.State.RUNNING
    with pytest.raises(BlockingIOError):
        alive.Holder(tmp_path)
    time.sleep(0)
    assert peer.state() is alive.State.RUNNING
    process.kill()
    process.wait()
