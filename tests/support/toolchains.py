"""Real programs of this machine as files of a build context: each with the libraries that it loads."""

from __future__ import annotations

import os
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


def collect_cargo(root: Path, libraries: Path) -> Path:
    """cargo, rustc and the standard library in `root`, half a gigabyte, and in `libraries` what they load beside, at its
    paths; returns the path that `root` has to have. They are rustup's, or Debian's where this machine has none."""
    programs.ensure("cargo", "cargo")
    printed = subprocess.run(
        [programs.ensure("rustc", "rustc"), "--print=sysroot"], check=True, capture_output=True, text=True
    )
    sysroot = Path(printed.stdout.strip())
    compilers = [sysroot / "bin/cargo", sysroot / "bin/rustc"]
    needed = {library for program in compilers for library in _libraries(program)}
    for path in (*compilers, *needed, *(sysroot / "lib/rustlib").glob("*-linux-gnu*/lib/*.*")):
        if path.is_relative_to(sysroot):
            _place(path, root / path.relative_to(sysroot))
        else:
            _copy(path, libraries)
    return sysroot


def _libraries(program: Path) -> list[Path]:
    """ldd(1) writes `name => path (address)`, and the loader's path alone."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [Path(os.path.normpath(path)) for path in re.findall(r"(/\S+) \(0x", listed)]


def _copy(path: Path, root: Path) -> None:
    _place(path, root / path.relative_to("/"))


def _place(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path.resolve(), target)
    target.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
