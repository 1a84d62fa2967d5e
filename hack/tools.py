"""Running the cluster's programs, and telling what goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cluster
from strata_builder import errors

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "strata-system"


class Stop(Exception):
    """Something that a person has to do something about; told without a traceback."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(where: cluster.Cluster, *argv: str, given: str = "", quiet: bool = False) -> str:
    """Run one of the cluster's programs (kubectl, helm, ctr) and return its standard output.

    Args:
        where: the cluster; its programs come first on PATH, KUBECONFIG points to it.
        argv: program and arguments.
        given: its standard input.
        quiet: keep its complaints for the error instead of printing them.

    Raises:
        Stop: the program is missing or failed.
    """
    path = os.pathsep.join(filter(None, (str(where.bin_dir or ""), os.environ.get("PATH", ""))))
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(where.kubeconfig)}
    complaints = subprocess.PIPE if quiet else None
    try:
        done = subprocess.run(
            argv, input=given, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment, check=False
        )
    except FileNotFoundError as error:
        raise Stop(f"{argv[0]} is not on PATH; an existing cluster needs kubectl and helm installed") from error
    if done.returncode:
        raise Stop(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr or ''}".rstrip())
    return done.stdout


def get(where: cluster.Cluster, namespace: str, kind: str, name: str) -> dict[str, Any]:
    """A Kubernetes object as JSON. Raises Stop if it cannot be read."""
    found: dict[str, Any] = json.loads(run(where, "kubectl", "-n", namespace, "get", kind, name, "-o", "json"))
    return found


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask again and again until `condition` holds. Raises Stop after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Stop(f"{what} did not come about in {seconds:.0f} s")
        time.sleep(0.3)


def main(function: Callable[[], None]) -> None:
    """Run a command of this package; ends the process with 1 and a plain message where it cannot go on."""
    try:
        function()
    except (Stop, cluster.ClusterError, errors.BuildError) as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
