"""Which addresses the operator may ask on behalf of users: it stands inside the cluster's network, they do not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strata_builder.registry import errors

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Filter:
    """Addresses that may be asked: no special one, and none of `refused`, save those `allowed`."""

    allowed: tuple[Network, ...] = ()
    refused: tuple[Network, ...] = ()

    @classmethod
    def of(cls, allowed: Iterable[str], refused: Iterable[str] = ()) -> Filter:
        """From CIDR blocks or single addresses. Raises ValueError."""
        return cls(tuple(map(ipaddress.ip_network, allowed)), tuple(map(ipaddress.ip_network, refused)))

    def admits(self, text: str) -> bool:
        """Whether the address `text` (as getaddrinfo gives it) may be asked."""
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if any(address in network for network in self.allowed):
            return True
        special = (
            address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address.is_reserved
        )
        return not special and not any(address in network for network in self.refused)

    def hook(self, host: str, address: str) -> None:
        """A registry client's connect filter. Raises AddressRefused."""
        if not self.admits(address):
            raise errors.AddressRefused(
                f"{host} is {address}, an address inside the node or the cluster: the operator does not ask it",
                host=host,
                hint="an administrator can allow it with STRATA_POLL_ALLOWED_CIDRS",
            )


def of_users(allowed: Iterable[str], environ: Mapping[str, str]) -> Filter:
    """The filter for hosts that users name: the API server is refused beside the special addresses."""
    api = environ.get("KUBERNETES_SERVICE_HOST", "")
    return Filter.of(allowed, [api] if api else [])
