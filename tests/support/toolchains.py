"""Real programs of this machine as files of a build context: each with the libraries that it loads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from support import programs

PACKAGES = {"make": "make", "ninja": "ninja-build", "/usr/bin/python3.11": "python3.11-minimal"}
_PYTHON = "libpython3.11-minimal"


def collect(root: Path) -> Path:
    """make, ninja and Python below `root`, which is made, at the paths that they have on this machine."""
    for name, package in PACKAGES.items():
        program = Path(programs.ensure(name, package))
        for path in (program, *_libraries(program)):
            _copy(path, root)
    listed = subprocess.run(["dpkg", "-L", _PYTHON], check=True, capture_output=True, text=True).stdout
    for path in filter(Path.is_file, map(Path, listed.splitlines())):
        if path.suffix == ".py":
            _copy(path, root)
    return root


def _libraries(program: Path) -> list[Path]:
    """ldd(1) writes `name => path (address)`, and the loader's path alone."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]


def _copy(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path.resolve(), target)
    target.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
