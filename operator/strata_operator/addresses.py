"""Which addresses the operator may ask on behalf of users: it stands inside the cluster's network, they do not.

Pods, Services, nodes and clouds' metadata services have private or link-local addresses, so none of those is asked but
what an administrator allows; the API server is refused even where it lies in an allowed block.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from strata_builder.registry import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: RFC 6052: a gateway turns such an address into the IPv4 one at its end; RFC 4291 §2.5.5.1: so do old systems.
_EMBEDDING: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))

#: Local by their own RFCs (8215, 3879), which `is_global` does not know of.
_LOCAL: Final = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("fec0::/10"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Addresses that may be asked: public ones and those `allowed`, but none of `refused`. Where an allowed and a
    refused block both hold an address, the smaller one counts."""

    allowed: tuple[Network, ...] = ()
    refused: tuple[Network, ...] = ()

    @classmethod
    def of(cls, allowed: Iterable[str], refused: Iterable[str] = ()) -> Filter:
        """From CIDR blocks or single addresses. Raises ValueError."""
        return cls(tuple(map(ipaddress.ip_network, allowed)), tuple(map(ipaddress.ip_network, refused)))

    def admits(self, text: str) -> bool:
        """Whether the address `text` (as getaddrinfo gives it) may be asked, by each way in which it can be understood."""
        return all(self._admits(address) for address in _meanings(ipaddress.ip_address(text.partition("%")[0])))

    def hook(self, host: str, address: str) -> None:
        """A registry client's connect filter. Raises AddressRefused."""
        if not self.admits(address):
            raise errors.AddressRefused(
                f"{host} is {address}, an address inside the node, the cluster or a private network:"
                " the operator does not ask it",
                host=host,
                hint="an administrator can allow it with the chart's pollAllowedCidrs",
            )

    def _admits(self, address: Address) -> bool:
        allowed, refused = _closest(address, self.allowed), _closest(address, self.refused)
        if allowed >= 0:
            return allowed >= refused
        local = address.is_multicast or any(address in network for network in _LOCAL)
        return refused < 0 and address.is_global and not local


def of_users(allowed: Iterable[str], environ: Mapping[str, str]) -> Filter:
    """The filter for hosts that users name, in a pod with the environment `environ`."""
    return Filter.of(allowed, filter(_is_address, [environ.get("KUBERNETES_SERVICE_HOST", "")]))


def _closest(address: Address, networks: Iterable[Network]) -> int:
    """The length of the longest prefix of `networks` that `address` has, -1 for none."""
    return max((network.prefixlen for network in networks if address in network), default=-1)


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 one that it stands for on some way: mapped, translated (NAT64) or tunnelled."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield address.teredo[1]
    if any(address in network for network in _EMBEDDING):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
