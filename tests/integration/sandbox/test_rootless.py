"""A build by an unprivileged user with a range of subordinate ids."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import unprivileged
from support.sandboxes import BUSYBOX
from support.unprivileged import USER

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become an unprivileged user"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
    pytest.mark.skipif(not shutil.which("newuidmap") or not shutil.which("setpriv"), reason="needs uidmap, setpriv"),
]

REPOSITORY = Path(__file__).parents[3]


def as_user(scratch: Path, subordinate: str) -> subprocess.CompletedProcess[str]:
    """Runs rootless_build.py."""
    (scratch / "work").mkdir()
    os.chown(scratch / "work", USER, USER)
    argv = [sys.executable, str(Path(__file__).with_name("rootless_build.py")), str(scratch / "work")]
    path = f"{REPOSITORY / 'builder'}:{REPOSITORY / 'tests'}"
    return unprivileged.run(argv, scratch, subordinate, {"PYTHONPATH": path})


def test_a_user_with_subordinate_ids_runs_steps_as_root_would(tmp_path: Path):
    done = as_user(tmp_path, unprivileged.SUBORDINATE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["entries"] == {"bin": [0, 0], "p": [0, 0], "tmp": [1000, 33], "var": [0, 0]}
    assert found["gone"] == ["bin/vi"]
    lines = found["said"].split("\n")
    assert lines[:3] == ["0", "1000", "1000"]
    assert "nested" not in lines
    assert [line.split() for line in lines[3:]] == [["0", str(USER), "1"], ["1", "300000", "65536"]]
    assert found["alone"] == [0, "lo\nbuildkitsandbox"]
    assert {"bin", "far", "p", "var"} <= set(found["names"])
    assert found["left"] == []
    assert found["later"] == [["bin", 0, 0], ["far", 0, 0], ["own", 1000, 33]]
    assert found["opened later"] == 1, "what the first build unpacked was there"
    assert found["kept"] == []


def test_a_user_without_subordinate_ids_is_told_which_line_is_missing(tmp_path: Path):
    done = as_user(tmp_path, "somebody:300000:65536\n")
    assert done.returncode != 0
    assert "add the line `strata-test:100000:65536` to /etc/subuid" in done.stderr
