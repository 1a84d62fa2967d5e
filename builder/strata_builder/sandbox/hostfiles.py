"""The files of the machine that a step sees in copy: who is who on the network."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_OTHERS: Final = (
    b"::1\tlocalhost ip6-localhost ip6-loopback\n"
    b"fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def seen_by_steps(hostname: str) -> dict[str, bytes]:
    """By name, without a leading slash."""
    resolver = Path("/etc/resolv.conf")
    return {
        "etc/hosts": f"127.0.0.1\tlocalhost {hostname}\n".encode() + _OTHERS,
        "etc/hostname": hostname.encode() + b"\n",
        "etc/resolv.conf": resolver.read_bytes() if resolver.exists() else b"",
    }
