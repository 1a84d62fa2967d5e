"""Addresses.

Only the link between host and node differs from cluster to cluster; all else lives inside the node's own namespace.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cluster import errors

PODS = "10.232.0.0/24"
SERVICES = "10.96.0.0/16"
APISERVER = "10.96.0.1"
DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Subnet:
    """The /30 network of one cluster: 10.231.NUMBER.0."""

    number: int

    @property
    def host(self) -> str:
        """The host's end, the node's default route."""
        return f"10.231.{self.number}.1"

    @property
    def node(self) -> str:
        """The node's end: the one address of the cluster that the host can reach."""
        return f"10.231.{self.number}.2"

    @property
    def network(self) -> str:
        """In CIDR notation."""
        return f"10.231.{self.number}.0/30"


def choose(taken: Iterable[str]) -> Subnet:
    """The lowest subnet that overlaps none of the networks (CIDR notation) that the host already has.

    Raises:
        errors.ClusterError: all 256 are taken.
    """
    networks = [ipaddress.ip_network(network, strict=False) for network in taken]
    for number in range(256):
        candidate = ipaddress.ip_network(Subnet(number).network)
        if not any(candidate.overlaps(network) for network in networks):
            return Subnet(number)
    raise errors.ClusterError(
        "all networks 10.231.0.0/30 to 10.231.255.0/30 are taken: end a cluster with `python -m cluster down`"
    )
