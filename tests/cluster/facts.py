"""What a test or another command must know of the cluster in order to use it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster import errors, existing, folders

START = "start it with `make cluster-up` (or `PYTHONPATH=tests python -m cluster up`)"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that can be used.

    What only our own cluster has is None where STRATA_CLUSTER=existing names another one.
    """

    name: str
    """Of our own cluster; of another one, its kubeconfig context."""
    kubeconfig: Path
    node_ip: str | None
    """The one address that the host can reach: node ports, host ports and the apiserver answer there."""
    registry: str | None
    """host:port of the stand-in for docker.io and registry.k8s.io, plain HTTP."""
    bin_dir: Path | None
    """Folder of kubectl, helm, ctr, crictl, runc, registry."""
    netns: str | None
    """Name of the node's network namespace, for `ip netns exec`."""
    state: Path | None
    """Folder of logs, sockets and keys; gone after `down`."""

    @property
    def containerd(self) -> str:
        """The address of containerd, for ctr; empty where the cluster is not ours."""
        return str(self.state / "containerd.sock") if self.state else ""


def current() -> Cluster:
    """The cluster that tests are to use: this checkout's own, or the existing one if STRATA_CLUSTER=existing.

    Raises:
        errors.ClusterError: it is not running, or the context of the existing one is not on the allow-list.
    """
    if existing.wanted():
        context, kubeconfig = existing.context()
        return Cluster(context, kubeconfig, None, None, None, None, None)
    facts = folders.State.of(folders.this_cluster()).facts
    try:
        return read(facts)
    except FileNotFoundError:
        raise errors.ClusterError(f"the cluster of {folders.CHECKOUT} is not running: {START}") from None


def read(file: Path) -> Cluster:
    """Reads what write() wrote."""
    raw = json.loads(file.read_text())
    paths = {key: Path(raw[key]) for key in ("kubeconfig", "bin_dir", "state")}
    return Cluster(**{**raw, **paths})


def write(file: Path, cluster: Cluster) -> None:
    """Writes the facts in one step, so that no reader ever sees half of them."""
    whole = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(cluster).items()}
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(whole, indent=1) + "\n")
    os.replace(fresh, file)
