"""The installed release with other values for a while."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from support import helm_chart, kubectl

PROXIES = "strata-node-proxy"


def helm(
    k: kubectl.Kubectl, *words: str, given: Any = None, wait: bool = True, namespace: str = helm_chart.NAMESPACE
) -> str:
    """Run helm; `given` are values on its standard input. Fails the test if helm does."""
    program = helm_chart.helm()
    assert program, "helm is nowhere"
    argv = [program, *words, "--namespace", namespace, "--kubeconfig", str(k.where.kubeconfig)]
    argv += ["--wait", "--timeout", "3m"] if wait else []
    text = yaml.safe_dump(given) if given is not None else ""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def changed(k: kubectl.Kubectl, values: Mapping[str, Any]) -> Iterator[None]:
    """The release upgraded to `values` beside its own; afterwards it is as it was."""
    revision = _revision(k)
    change(k, values)
    try:
        yield
    finally:
        _bring_back(k, revision)


def change(k: kubectl.Kubectl, values: Mapping[str, Any]) -> None:
    """Upgrade the release to `values` beside its own; for who brings it back otherwise."""
    helm(k, "upgrade", "strata", str(helm_chart.CHART), "--reuse-values", "--values", "-", given=values)


def upgraded(k: kubectl.Kubectl, chart: Path) -> None:
    """The release becomes that of `chart`, with the values that it was given."""
    helm(k, "upgrade", "strata", str(chart), "--reset-then-reuse-values")


@contextlib.contextmanager
def removed(k: kubectl.Kubectl) -> Iterator[None]:
    """No release; afterwards it is as it was."""
    revision = _revision(k)
    helm(k, "uninstall", "strata", "--keep-history")
    try:
        yield
    finally:
        _bring_back(k, revision)


def _bring_back(k: kubectl.Kubectl, revision: str) -> None:
    k.ask("wait", f"namespace/{PROXIES}", "--for=delete", "--timeout=1s")
    if _ends(k):  # a namespace that goes cannot be made again before it is gone
        k("wait", f"namespace/{PROXIES}", "--for=delete", "--timeout=90s")
    helm(k, "rollback", "strata", revision)


def _ends(k: kubectl.Kubectl) -> bool:
    found = k.get("namespace", PROXIES)
    return found is not None and "deletionTimestamp" in found["metadata"]


def _revision(k: kubectl.Kubectl) -> str:
    history = yaml.safe_load(helm(k, "history", "strata", "--output", "yaml", wait=False))
    return str(max(entry["revision"] for entry in history))
