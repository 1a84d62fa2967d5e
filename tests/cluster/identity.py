"""The names of one cluster, all derived from the checkout that it serves, so that two checkouts share nothing."""

import hashlib
from dataclasses import dataclass
from typing import Self

PREFIX = "strata-"


@dataclass(frozen=True, slots=True)
class Identity:
    """Names of everything that a cluster has outside its own process and mount namespaces."""

    digest: str
    """Eight hexadecimal digits."""

    @classmethod
    def of(cls, checkout: str, suffix: str = "") -> Self:
        """The identity of the cluster of a checkout (an absolute path); a suffix makes a further one of the same."""
        return cls(hashlib.sha256(f"{checkout}\0{suffix}".encode()).hexdigest()[:8])

    @property
    def name(self) -> str:
        """Of the cluster, its network namespace, its kubeconfig context, its state folder and its root cgroup."""
        return PREFIX + self.digest

    @property
    def link(self) -> str:
        """Of the host's end of the veth pair; the kernel allows 15 characters."""
        return f"st{self.digest}"

    @property
    def table(self) -> str:
        """Of the nftables table that holds the address translation."""
        return f"node_{self.digest}"
