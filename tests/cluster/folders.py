"""Where things lie: the checkout, the cache that outlives clusters, and the state of one cluster, which does not."""

import os
from dataclasses import dataclass
from pathlib import Path

from cluster import identity

SOURCE = Path(__file__).resolve().parent
CHECKOUT = SOURCE.parent.parent


def cache() -> Path:
    """The folder of binaries and base images: $STRATA_CACHE, else strata/ below the user's cache folder.

    Made if absent.
    """
    if chosen := os.environ.get("STRATA_CACHE"):
        folder = Path(chosen).absolute()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strata"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def this_cluster() -> identity.Identity:
    """The identity of this checkout's cluster; STRATA_CLUSTER_NAME, if set, names a further one beside the default."""
    return identity.Identity.of(str(CHECKOUT), os.environ.get("STRATA_CLUSTER_NAME", ""))


@dataclass(frozen=True, slots=True)
class State:
    """The state folder of one cluster.

    On tmpfs: etcd, containerd and kubelet make many small files, which disks are slow at.
    """

    root: Path

    @classmethod
    def of(cls, who: identity.Identity) -> "State":
        """The folder of a cluster, whether it exists or not."""
        return cls(Path("/dev/shm") / who.name)

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    @property
    def facts(self) -> Path:
        """What other commands and tests must know of the running cluster, as JSON."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file a program."""
        return self.root / "log"
