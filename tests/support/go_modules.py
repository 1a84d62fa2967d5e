"""Modules of other projects, in the versions that go.mod and go.sum of the test cluster, or of a further module, name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import folders, toolchain


@dataclass(frozen=True, slots=True)
class Module:
    """A module as it was released; `version` is that of go.mod."""

    version: str
    folder: Path

    def copy_to(self, folder: Path) -> None:
        """Writes the module's files into `folder`, as they are."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def find(path: str, source: Path = folders.SOURCE) -> Module:
    """The module of that path as the Go module in `source` has it, fetched if Go's cache lacks it; checked against go.sum."""
    go = toolchain.find()
    toolchain.install(go)
    command = [str(go.program), "mod", "download", "-json", path]
    done = subprocess.run(
        command, cwd=source, env=os.environ | toolchain.fixed(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout)
    return Module(found["Version"], Path(found["Dir"]))
