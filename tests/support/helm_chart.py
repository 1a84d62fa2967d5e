"""The chart as `helm template` renders it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

import cluster
from cluster import errors, folders

CHECKOUT: Final = Path(__file__).resolve().parents[2]
CHART: Final = CHECKOUT / "helm" / "strata"
NAMESPACE: Final = "strata-system"

Manifest = dict[str, Any]


@functools.cache
def helm() -> str | None:
    """The helm binary: that of PATH, of the cluster, or of the cluster's cache."""
    places = [os.environ.get("PATH", "")]
    try:
        places.append(str(cluster.current().bin_dir or ""))
    except errors.ClusterError:
        places += map(str, (folders.cache() / "bin").glob("*"))
    return shutil.which("helm", path=os.pathsep.join(places))


def run(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """`helm ARGUMENTS` with `values` as a values file."""
    program = helm()
    assert program, "helm is nowhere"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        command = [program, *arguments, "--values", file.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def template(
    values: Mapping[str, Any] | None = None, *, kubernetes: str = "1.32.0"
) -> subprocess.CompletedProcess[str]:
    """`helm template` for a cluster of version `kubernetes`, which is by default the oldest that the chart supports."""
    return _templated(json.dumps(values or {}), kubernetes)


@functools.lru_cache(maxsize=64)
def _templated(values: str, kubernetes: str) -> subprocess.CompletedProcess[str]:
    place = ("strata", str(CHART), "--namespace", NAMESPACE)
    return run("template", *place, "--kube-version", kubernetes, values=json.loads(values))


def render(values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """The manifests that `values` give."""
    done = template(values)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if body]  # the CRDs are long


def refusal(values: Mapping[str, Any]) -> str:
    """What helm says of values that the chart refuses."""
    done = template(values)
    assert done.returncode != 0, "the values were accepted"
    return done.stderr


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The only manifest of `kind` (and `name`)."""
    found = [body for body in manifests if body["kind"] == kind and name in ("", body["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]
