"""The sources of another commit of this repository, for tests of what an upgrade does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support import kubectl

_PARTS = ("operator", "builder", "crds", "helm")


def earlier() -> str:
    """From which commit is upgraded: STRATA_UPGRADE_FROM, else the one before the newest that changed what is upgraded."""
    if chosen := os.environ.get("STRATA_UPGRADE_FROM"):
        return chosen
    newest = _git("log", "-1", "--format=%H", "--", *_PARTS).decode().strip()
    return f"{newest}~1"


def unpacked(folder: Path) -> Path:
    """`folder`, with the operator, the builder, the CRDs and the chart of `earlier`. Fails where there is no git history."""
    archive = _git("archive", earlier(), *_PARTS)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, timeout=60, check=True)
    return folder


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=kubectl.CHECKOUT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"git {' '.join(words)} (STRATA_UPGRADE_FROM?): {done.stderr.decode()}"
    return done.stdout
