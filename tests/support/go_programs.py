"""Go programs of the tests, compiled once and kept beside the cluster's under a hash of all that makes them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from cluster import folders, locks, progress, toolchain


class Missing(Exception):
    """The program cannot be had here; says what is missing and what to do."""


def ensure(source: Path, expected: str, package: str = ".") -> Path:
    """The program of the Go module in `source`; compiles it if that was not done yet, which takes `expected`.

    `package` is another module's that this one requires, where the program is not its own.

    Raises Missing where there is no Go, or where it fails.
    """
    go = toolchain.find()
    program = folders.cache() / "bin" / f"{source.name}-{_key(source, go.version)}" / source.name
    if program.exists():
        return program
    with locks.held(f"go-{source.name}"):
        if not program.exists():
            toolchain.install(go)
            _compile(go, source, package, program, expected)
    return program


def _key(source: Path, version: str) -> str:
    digest = hashlib.sha256(version.encode())
    for path in sorted(path for path in source.iterdir() if path.suffix in (".go", ".mod", ".sum")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _compile(go: toolchain.Go, source: Path, package: str, program: Path, expected: str) -> None:
    unfinished = program.parent.with_name(f".{program.parent.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    # The module may ask for a newer Go than the cluster's programs do: Go fetches that by itself.
    environment = {**os.environ, **toolchain.fixed(), "GOTOOLCHAIN": "auto", "CGO_ENABLED": "0"}
    command = [
        str(go.program),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w",
        "-o",
        str(unfinished / source.name),
        package,
    ]
    with progress.step(f"compiling {source.name} of the tests, once", expected):
        done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("go: downloading"))
        raise Missing(f"`go build` in {source} failed; it needs Go and a module proxy:\n{said[-3000:]}")
    unfinished.rename(program.parent)
