"""Where pivot_root is forbidden the root is moved instead, and the old one is out of reach all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.sandboxes import BUSYBOX, tmpfs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="its filter is for x86_64"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
]

REPOSITORY = Path(__file__).parents[3]
#: The classic way out of a chroot: keep a directory open outside of a deeper one, then climb.
ESCAPE = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    int out = open("/", O_RDONLY);
    mkdir("/deeper", 0755);
    if (chroot("/deeper") || fchdir(out)) { puts("no chroot"); return 0; }
    for (int i = 0; i < 64; i++) chdir("..");
    chroot(".");
    rmdir("/deeper");
    DIR *top = opendir("/");
    for (struct dirent *e; (e = readdir(top));) printf("top: %s\n", e->d_name);
    return 0;
}
"""


def test_the_old_root_is_out_of_reach_even_for_a_root_that_climbs(tmp_path: Path):
    program = tmp_path / "escape"
    if shutil.which("cc"):
        (tmp_path / "escape.c").write_text(ESCAPE)
        subprocess.run(["cc", "-static", "-o", program, tmp_path / "escape.c"], check=True, capture_output=True)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY / 'builder'}:{REPOSITORY / 'tests'}"}
    driver = Path(__file__).with_name("no_pivot_build.py")
    with tmpfs(tmp_path / "scratch") as scratch:
        done = subprocess.run(
            [sys.executable, driver, scratch, program],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    listed = [line for line in lines if line in os.listdir("/")]
    assert {"bin", "tmp"} <= set(listed)
    assert not {"work", "home", "boot", "usr", "var"} & {line.removeprefix("top: ") for line in lines}
    if program.exists():
        assert "top: bin" in lines
        assert "top: tmp" in lines
