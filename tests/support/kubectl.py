"""kubectl against the cluster of the tests."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cluster
from support import kubeapi, patience

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What kubectl said."""

    code: int
    out: str
    err: str


class Kubectl:
    """One cluster's kubectl."""

    def __init__(self, where: cluster.Cluster) -> None:
        program = str(where.bin_dir / "kubectl") if where.bin_dir else "kubectl"
        self.where = where
        self._argv = [program, "--kubeconfig", str(where.kubeconfig)]
        self._api = functools.cache(lambda: kubeapi.Client(self._argv))

    def command(self, *words: str) -> list[str]:
        """The command line, for who runs it otherwise than `ask` does."""
        return [*self._argv, *words]

    def ask(self, *words: str, body: Any = None, text: str = "") -> Answer:
        """Run it; `body` is sent as a manifest on standard input."""
        given = text or (json.dumps(body) if body is not None else "")
        done = subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, timeout=120, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def __call__(self, *words: str, body: Any = None, text: str = "") -> str:
        """As `ask`; fails the test if kubectl does."""
        answer = self.ask(*words, body=body, text=text)
        assert answer.code == 0, f"kubectl {' '.join(words)}: {answer.err or answer.out}"
        return answer.out

    def get(self, kind: str, name: str = "", *, namespace: str = "", **query: str) -> dict[str, Any] | None:
        """An object, None if there is none; a list without `name`: kubeapi.Client.get."""
        return self._api().get(kind, name, namespace=namespace, **query)

    def apply(self, body: dict[str, Any], *, namespace: str) -> None:
        """An object, or each of a List: kubeapi.Client.apply."""
        for one in body["items"] if body["kind"] == "List" else (body,):
            self._api().apply(one, namespace=namespace)

    def apply_crd(self, plural: str) -> None:
        """Bring a CRD of this checkout up to date and wait until it is served."""
        self(
            "apply", "--server-side", "--force-conflicts", "-f", str(CHECKOUT / "crds" / f"{plural}.strata.build.yaml")
        )
        self("wait", "--for=condition=Established", f"crd/{plural}.strata.build", "--timeout=30s")


@functools.cache
def current() -> Kubectl:
    """kubectl for the cluster that tests are to use. Raises cluster.ClusterError if there is none."""
    return Kubectl(cluster.current())


def inside(where: cluster.Cluster, *argv: str) -> list[str]:
    """The command line that runs `argv` in the node: where Services and their names can be reached."""
    return [str(CHECKOUT / ".venv/bin/python"), "-m", "cluster", "exec", "--", *argv]


def environment() -> dict[str, str]:
    """The environment in which `inside` works."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")}


def until(condition: Callable[[], Any], *, seconds: float = 60, what: str = "the condition") -> Any:
    """Wait for `condition` to be true, and return it."""
    found = patience.look(condition, seconds=seconds)
    assert found, f"{what} did not come about in {seconds:.0f} s"
    return found
