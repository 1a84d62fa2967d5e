"""The sources of another commit of this repository, for tests of what an upgrade does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support import kubectl

#: From which commit is upgraded; a branch, tag or commit.
FROM = os.environ.get("STRATA_UPGRADE_FROM", "HEAD~1")


def unpacked(folder: Path, commit: str = FROM) -> Path:
    """`folder`, with the operator, the builder, the CRDs and the chart of `commit`. Fails where there is no git history."""
    parts = ("operator", "builder", "crds", "helm")
    archive = subprocess.run(
        ["git", "archive", commit, *parts], cwd=kubectl.CHECKOUT, capture_output=True, timeout=60, check=False
    )
    assert archive.returncode == 0, f"STRATA_UPGRADE_FROM={commit}: {archive.stderr.decode()}"
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, timeout=60, check=True)
    return folder
