"""Programs of this machine that only tests need."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def ensure(program: str, package: str) -> str:
    """The path of `program`; where we are root on Debian, its package is installed if it is missing.

    The test fails, and says what to type, if it is missing and cannot be installed.
    """
    if not (found := shutil.which(program)) and os.geteuid() == 0 and shutil.which("apt-get"):
        # A package of a service would start it; with RUNLEVEL=1 it is not.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "--yes", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-qq", *words], env=quiet, stdout=subprocess.DEVNULL, check=False)
        found = shutil.which(program)
    if not found:
        pytest.fail(f"{program} is not on PATH; install it with:  apt-get install {package}", pytrace=False)
    return found
