"""Programs of this machine that only tests need."""

from __future__ import annotations

import os
import shutil

import pytest

from cluster import errors, requirements


def ensure(program: str, package: str) -> str:
    """The path of `program`; where we are root on Debian, its package is installed if it is missing.

    The test fails, and says what to type, if it is missing and cannot be installed.
    """
    if not (found := shutil.which(program)) and os.geteuid() == 0 and shutil.which("apt-get"):
        try:
            requirements.install([package])
        except errors.ClusterError as error:
            pytest.fail(f"{program} is not on PATH, and {error}", pytrace=False)
        found = shutil.which(program)
    if not found:
        pytest.fail(f"{program} is not on PATH; install it with:  apt-get install {package}", pytrace=False)
    return found
