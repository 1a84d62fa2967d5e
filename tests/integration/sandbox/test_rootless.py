"""A build by an unprivileged user with a range of subordinate ids."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.sandboxes import BUSYBOX

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become an unprivileged user"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
    pytest.mark.skipif(not shutil.which("newuidmap") or not shutil.which("setpriv"), reason="needs uidmap, setpriv"),
]

REPOSITORY = Path(__file__).parents[3]
USER = 12345


def as_user(scratch: Path, subordinate: str) -> subprocess.CompletedProcess[str]:
    """Runs rootless_build.py as a user who exists in this test's mount namespace alone, and so do their id ranges."""
    files = {"passwd": f"\nstrata-test:x:{USER}:{USER}::/:/bin/sh\n", "subuid": subordinate, "subgid": subordinate}
    for name, more in files.items():
        known = Path("/etc", name).read_text() if name == "passwd" else ""
        (scratch / name).write_text(known + more)
    interpreter = Path(sys.base_prefix).resolve()
    script = f"""
        set -e
        for f in passwd subuid subgid; do [ -e /etc/$f ] || continue; mount --bind {scratch}/$f /etc/$f; done
        mkdir {scratch}/python && mount --bind {interpreter} {scratch}/python
        case {interpreter} in /root/*) mount -t tmpfs -o mode=755 t /root; mkdir -p {interpreter}
            mount --bind {scratch}/python {interpreter};; esac
        exec setpriv --reuid {USER} --regid {USER} --clear-groups \\
            {sys.executable} {Path(__file__).with_name("rootless_build.py")} {scratch}/work
    """
    (scratch / "work").mkdir()
    os.chown(scratch / "work", USER, USER)
    for above in (scratch, *scratch.parents):
        if above.is_relative_to(Path("/dev/shm")) and above != Path("/dev/shm"):
            above.chmod(above.stat().st_mode | 0o055)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY / 'builder'}:{REPOSITORY / 'tests'}"}
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], check=False, capture_output=True, text=True, env=env, timeout=120
    )


def test_a_user_with_subordinate_ids_runs_steps_as_root_would(tmp_path: Path):
    done = as_user(tmp_path, "strata-test:300000:65536\n")
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


def test_a_user_without_subordinate_ids_is_told_which_line_is_missing(tmp_path: Path):
    done = as_user(tmp_path, "somebody:300000:65536\n")
    assert done.returncode != 0
    assert "add the line `strata-test:100000:65536` to /etc/subuid" in done.stderr
