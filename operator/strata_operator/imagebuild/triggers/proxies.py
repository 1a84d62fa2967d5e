"""Whether the operator reaches a host through the chart's proxy. Pure.

A proxy looks up names itself, so the operator cannot know the address; what it reaches without one, it filters.
"""

from __future__ import annotations

import ipaddress
import urllib.request

from strata_builder.context import gitref
from strata_operator.settings import Settings


def of(url: gitref.GitUrl, options: Settings) -> str:
    """The proxy for `url`, empty if there is none: it is for http and https, and not for the hosts of noProxy."""
    proxy = {"http": options.http_proxy, "https": options.https_proxy}.get(url.scheme, "")
    return "" if not proxy or _excepted(url, options.no_proxy) else proxy


def _excepted(url: gitref.GitUrl, no_proxy: str) -> bool:
    if urllib.request.proxy_bypass_environment(url.host, {"no": no_proxy}):  # type: ignore[attr-defined]
        return True
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        return False
    return any(address in network for network in _networks(no_proxy))


def _networks(no_proxy: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for item in no_proxy.split(","):
        try:
            found.append(ipaddress.ip_network(item.strip(), strict=False))
        except ValueError:
            continue  # a name
    return found
