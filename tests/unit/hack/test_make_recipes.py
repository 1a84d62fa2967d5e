"""The Makefile's recipes, as the shell that runs them reads them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
TARGETS = re.findall(r"^([a-z0-9-]+):.*## ", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


def test_targets_are_found():
    assert {"help", "test", "test-faults", "test-selfbuild"} <= {*TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_a_recipe_is_what_its_shell_can_read(target):
    recipe = subprocess.run(["make", "-n", target], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    read = subprocess.run(["bash", "-n"], input=recipe, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
