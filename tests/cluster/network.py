"""The node's network namespace, its link to the host, and the address translation that lets pods reach the outside."""

import json
from pathlib import Path

from cluster import identity, locks, shell, subnet


def make(who: identity.Identity) -> subnet.Subnet:
    """Makes namespace, link, routes and translation, and returns the subnet that was free."""
    with locks.held("network"):
        chosen = subnet.choose(taken())
        shell.run("ip", "netns", "add", who.name)
        shell.run("ip", "link", "add", who.link, "type", "veth", "peer", "name", "eth0", "netns", who.name)
        shell.run("ip", "addr", "add", f"{chosen.host}/30", "dev", who.link)
    shell.run("ip", "link", "set", who.link, "up")
    for line in (
        "link set lo up",
        f"addr add {chosen.node}/30 dev eth0",
        "link set eth0 up",
        f"route add default via {chosen.host}",
    ):
        shell.run("ip", "-n", who.name, *line.split())
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    if forwarding.read_text().strip() != "1":
        forwarding.write_text("1")
    shell.run("ip", "netns", "exec", who.name, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    shell.run("nft", "-f", "-", stdin=translation(who, chosen))
    if drops_forwarded(shell.run("iptables", "-S", "FORWARD")):
        for direction in ("-i", "-o"):
            shell.run("iptables", "-I", "FORWARD", *accept(who, direction))
    return chosen


def remove(who: identity.Identity) -> None:
    """Removes whatever make() made; what is not there is no failure."""
    if Path("/run/netns", who.name).exists():
        shell.run("ip", "netns", "del", who.name)
    # The link goes with its peer's namespace, but only when the kernel comes to it.
    if Path("/sys/class/net", who.link).exists():
        shell.attempt("ip", "link", "del", who.link)
    if who.table in shell.run("nft", "list", "tables").split():
        shell.run("nft", "delete", "table", "ip", who.table)
    while who.name in (rules := shell.run("iptables", "-S", "FORWARD")):
        for direction in ("-i", "-o"):
            if f"{direction} {who.link} " in rules:
                shell.run("iptables", "-D", "FORWARD", *accept(who, direction))


def taken() -> list[str]:
    """Every network that the host has an address or a route in."""
    links = json.loads(shell.run("ip", "-json", "-4", "addr"))
    routes = json.loads(shell.run("ip", "-json", "-4", "route"))
    addresses = [f"{entry['local']}/{entry['prefixlen']}" for link in links for entry in link.get("addr_info", [])]
    return addresses + [route["dst"] for route in routes if route["dst"] != "default"]


def translation(who: identity.Identity, net: subnet.Subnet) -> str:
    """The nftables script: a table of the cluster's own, so that removing it removes all."""
    return f"""table ip {who.table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {net.network} oifname != "{who.link}" masquerade
  }}
}}
"""


def drops_forwarded(rules: str) -> bool:
    """Whether the host forwards nothing by default, as hosts with Docker do.

    `rules`: output of `iptables -S FORWARD`.
    """
    return "-P FORWARD DROP" in rules


def accept(who: identity.Identity, direction: str) -> list[str]:
    """The rule that lets the node's packets through, without the verb."""
    return [direction, who.link, "-m", "comment", "--comment", who.name, "-j", "ACCEPT"]
