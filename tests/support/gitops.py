"""What GitOps tests stand on: an apply engine at work on a git repository, and a small world with the real operator.

The world has a real API server with real controllers and a real registry; its node is played (support/played_node.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import cluster
from support import controlplane, e2e, git_server, go_programs, kubectl, operator_process, played_node, registry_process

Body = dict[str, Any]
APPLIER = kubectl.CHECKOUT / "tests/gitops/applier"
OWN_ARGOCD = kubectl.CHECKOUT / "tests/gitops/argocd"
#: Argo CD itself takes a newer Go and many minutes to compile.
LONG = os.environ.get("STRATA_LONG", "") not in ("", "0")
ARGOCD = kubectl.CHECKOUT / "docs/gitops/argocd/strata.build"
EXAMPLE = kubectl.CHECKOUT / "docs/gitops/example"
WRITE_BACK = kubectl.CHECKOUT / "docs/gitops/write-back/write-back.sh"


@dataclass(frozen=True, slots=True)
class Applied:
    """What the engine came to: its events, and what it complained of (empty: all is applied, pruned and ready)."""

    events: list[Body]
    trouble: str

    def of(self, event: str, name: str) -> list[str]:
        """The statuses of an object's events of one kind (apply, prune, wait, status), in order."""
        return [e["status"] for e in self.events if e["event"] == event and e["name"] == name]


def applier() -> str:
    """The program, compiled once. Raises go_programs.Missing."""
    return str(go_programs.ensure(APPLIER, "2 minutes"))


def argocd() -> str:
    """Argo CD's own code, which answers as the applier does. Raises go_programs.Missing."""
    return str(go_programs.ensure(OWN_ARGOCD, "5 to 20 minutes"))


def engine(kubeconfig: Path, url: str, home: e2e.Namespace, *words: str, folder: str = "deploy") -> list[str]:
    """The command that applies a folder of a repository to a namespace; its inventory has the folder's name."""
    where = ("--kubeconfig", str(kubeconfig), "--namespace", home.name)
    return [applier(), "apply", *where, "--url", url, "--folder", folder, "--inventory", f"shop-{folder}", *words]


def applied(command: list[str]) -> Applied:
    """Run `engine`'s command to its end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events or done.returncode, done.stderr
    return Applied(events, done.stderr if done.returncode else "")


def asked(command: str, objects: Iterable[Body], file: Path | None = None, *, program: str = "") -> list[Any]:
    """What the applier, or another program, answers of each object: `status`, or `health`, `discover`, `action` with a
    Lua file."""
    argv = [program or applier(), command, *([str(file)] if file else [])]
    given = "\n".join(map(json.dumps, objects))
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def kstatus(*objects: Body) -> list[str]:
    return [answer["status"] for answer in asked("status", objects)]


@dataclass(frozen=True, slots=True)
class Source:
    """A git repository whose folder `deploy` is what ought to be in the cluster."""

    url: str
    repository: git_server.Repository

    def commit(self, files: Mapping[str, Body | None]) -> str:
        """Objects by file name; None removes one."""
        texts = {f"deploy/{name}.yaml": yaml.safe_dump(body) if body else None for name, body in files.items()}
        return self.repository.commit(texts)  # type: ignore[arg-type]  # a dict that is only read


@contextlib.contextmanager
def source(folder: Path, host: str = "127.0.0.1") -> Iterator[Source]:
    """A repository and a server for it."""
    repository = git_server.Repository.make(folder, "shop")
    with git_server.HttpServer(folder, host=host) as server:
        yield Source(f"{server.url}/shop.git", repository)


def write_back(home: e2e.Namespace, source: Source, *builds: str) -> str:
    """Run the documented script, as a step of a pipeline does; what it says."""
    kubectl_folder = str(Path(home.k.command()[0]).parent)
    environment = os.environ | git_server.IDENTITY
    environment |= {"PATH": f"{kubectl_folder}:{os.environ['PATH']}", "KUBECONFIG": str(home.k.where.kubeconfig)}
    environment |= {"REPOSITORY": str(source.repository.bare), "FOLDER": "app/images", "NAMESPACE": home.name}
    done = subprocess.run([WRITE_BACK, *builds], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class World:
    """`k` is its kubectl, `node` says what becomes of pods, `operator` is the process."""

    def __init__(self, plane: controlplane.ControlPlane, programs: Path, registry: str, node: played_node.Node) -> None:
        where = cluster.Cluster(
            "strata-control-plane", plane.kubeconfig, None, None, programs, "strata-control-plane", None
        )
        self.plane = plane
        self.registry = registry
        self.node = node
        self.k = kubectl.Kubectl(where)
        settings = {"POD_NAME": "world", "POLL_ALLOWED_CIDRS": "127.0.0.0/8", "NODE_PROXY": "false"}
        log = plane.folder / "operator.log"
        self.operator = operator_process.OperatorProcess(plane.kubeconfig, log, settings)
        self._count = 0

    def namespace(self, name: str = "") -> e2e.Namespace:
        """A new one with the Registry `main`, Ready."""
        self._count += 1
        made = e2e.Namespace(self.k, name or f"shop-{self._count}")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name}}
        self.k("create", "-f", "-", body=body)
        made.apply(self.main())
        made.wait("main", kind="registry")
        return made

    def main(self) -> Body:
        """The Registry that all builds of a namespace go to."""
        return {
            "apiVersion": e2e.API_VERSION,
            "kind": "Registry",
            "metadata": {"name": "main"},
            "spec": {"external": {"host": self.registry, "insecure": True}},
        }


@contextlib.contextmanager
def world(programs: Path, registry: Path) -> Iterator[World]:
    """A world of one's own with the operator at work."""
    with (
        controlplane.ControlPlane(programs) as plane,
        registry_process.RegistryProcess(registry) as store,
        played_node.Node(plane, store.host) as node,
    ):
        made = World(plane, programs, store.host, node)
        plane.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "strata-system"}})
        with made.operator:
            yield made
