"""The modules with other builders' test suites: read from the module cache at test time, never copied into this project."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cluster import toolchain


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module at one version; `sum` is the hash of its files, as go.sum would have it."""

    path: str
    version: str
    sum: str


BUILDAH = Module("github.com/containers/buildah", "v1.43.0", "h1:FuWSdqxQMR7X5d254MyDl7KOGcRDvYxvvmpRbBhlWho=")
KANIKO = Module("github.com/GoogleContainerTools/kaniko", "v1.24.0", "h1:PgzzuOwaraxC7UMw0F0YoxNHi+a6YeiAbDgc2GHrk+M=")
BUILDKIT = Module("github.com/moby/buildkit", "v0.34.2", "h1:fXgOe79JW5zJNDumRtwTemOklLX66otQokObUXuiGJo=")
MOBY = Module("github.com/moby/moby/v2", "v2.0.0-beta.24", "h1:sWv7EckkDJhpraR9yUjkw1XeVf39+MWd58E22PYloNA=")


class Missing(Exception):
    """A module cannot be had, or is not what was pinned; says which and why."""


def fetch(module: Module) -> Path:
    """The folder of the module's files, which nobody may write to.

    Raises:
        Missing: no proxy has it, or its files have another hash.
    """
    go = toolchain.find()
    toolchain.install(go)
    named = f"{module.path}@{module.version}"
    with tempfile.TemporaryDirectory(prefix="strata-module-") as outside:
        done = subprocess.run(
            [str(go.program), "mod", "download", "-json", named],
            cwd=outside,
            env=os.environ | toolchain.fixed(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise Missing(f"{named}: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout)
    if found["Sum"] != module.sum:
        raise Missing(f"{named}: its files have the hash {found['Sum']}, and {module.sum} is pinned")
    return Path(found["Dir"])
