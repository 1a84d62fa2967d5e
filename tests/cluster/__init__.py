"""A real Kubernetes on one node, for the demo and the tests: etcd, kube-apiserver, kubelet, containerd, all unmodified.

It is for a Linux host where nothing is installed but Python and Debian packages: no Docker, no systemd. The programs
are compiled from the Go module in this folder, run in a network, mount and process namespace of their own, and keep
everything in one folder on tmpfs.

    python -m cluster up        # with PYTHONPATH=tests; `--help` tells the rest

Tests ask `cluster.current()` for what they must know.
"""

from cluster.errors import ClusterError
from cluster.facts import Cluster, current

__all__ = ["Cluster", "ClusterError", "current"]
