"""Programs run as a user without any right, who may have subordinate ids. He exists in a mount namespace of the program
alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

USER = 12345
NAME = "strata-test"
SUBORDINATE = f"{NAME}:300000:65536\n"
"""A line of /etc/subuid."""


def run(
    argv: Sequence[str], scratch: Path, subordinate: str = SUBORDINATE, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `argv`. `scratch` is a folder for what this needs, open to the user with all above it on /dev/shm;
    `subordinate` is all of /etc/subuid and /etc/subgid."""
    files = {"passwd": f"\n{NAME}:x:{USER}:{USER}::/:/bin/sh\n", "subuid": subordinate, "subgid": subordinate}
    for name, more in files.items():
        known = Path("/etc", name).read_text() if name == "passwd" else ""
        (scratch / name).write_text(known + more)
    (scratch / "python").mkdir(exist_ok=True)
    interpreter = Path(sys.base_prefix).resolve()
    script = f"""
        set -e
        for f in passwd subuid subgid; do [ -e /etc/$f ] || continue; mount --bind {scratch}/$f /etc/$f; done
        mount --bind {interpreter} {scratch}/python
        case {interpreter} in /root/*) mount -t tmpfs -o mode=755 t /root; mkdir -p {interpreter}
            mount --bind {scratch}/python {interpreter};; esac
        exec setpriv --reuid {USER} --regid {USER} --clear-groups "$@"
    """
    for above in (scratch, *scratch.parents):
        if above.is_relative_to(Path("/dev/shm")) and above != Path("/dev/shm"):
            above.chmod(above.stat().st_mode | 0o055)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *argv],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env={"PATH": os.environ["PATH"], **(env or {})},
        timeout=600,
    )
