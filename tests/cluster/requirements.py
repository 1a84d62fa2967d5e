"""What the host must have. What Debian has as a package is installed; anything else is named, with the way out."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cluster import errors, progress

OTHERWISE = (
    "To use a Kubernetes that is already there instead (kind, for example):\n"
    "  export KUBECONFIG=/path/to/kubeconfig STRATA_CLUSTER=existing        # docs/cluster.md tells more"
)
PACKAGES = {
    "iproute2": "/usr/sbin/ip|/sbin/ip|/usr/bin/ip",
    "iptables": "/usr/sbin/iptables|/sbin/iptables",
    "nftables": "/usr/sbin/nft",
    "conntrack": "/usr/sbin/conntrack",
    "procps": "/usr/sbin/sysctl|/sbin/sysctl",
    "util-linux": "/usr/bin/nsenter",
    "busybox-static": "/bin/busybox|/usr/bin/busybox",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "libseccomp-dev": "/usr/include/seccomp.h",
    "pkg-config": "/usr/bin/pkg-config",
    "gcc": "/usr/bin/gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "uidmap": "/usr/bin/newuidmap",
    "skopeo": "/usr/bin/skopeo",
}
"""Debian package -> a file of it (or one of several, split by |).

Looking is quicker than asking dpkg, and right on other systems too.
"""


def check() -> None:
    """Installs missing packages, if it may.

    Raises:
        errors.ClusterError: this machine cannot run the node; the text says what is missing and what to do.
    """
    if problem := unsuitable(sys.platform, os.geteuid(), platform.machine()):
        raise errors.ClusterError(f"{problem}\n{OTHERWISE}")
    if missing := absent():
        install(missing)
    if missing := absent():
        raise errors.ClusterError(f"still missing after the installation: {', '.join(missing)}\n{OTHERWISE}")


def unsuitable(system: str, user: int, machine: str) -> str:
    """Why the node cannot run here at all, or nothing.

    `system` as sys.platform, `user` the effective uid, `machine` as uname -m.
    """
    if system != "linux":
        return f"the node needs Linux; this is {system}."
    if machine not in ("x86_64", "aarch64"):
        return f"the node is compiled for x86_64 and aarch64; this is {machine}."
    if user != 0:
        return "the node needs root, for namespaces, mounts, cgroups and nftables: `sudo make cluster-up`."
    return ""


def absent() -> list[str]:
    """The packages of which no file is there."""
    return [package for package, files in PACKAGES.items() if not any(Path(file).exists() for file in files.split("|"))]


def install(packages: list[str]) -> None:
    """Installs Debian packages.

    Raises:
        errors.ClusterError: this is no Debian, or apt-get failed.
    """
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        raise errors.ClusterError(
            f"programs are missing that Debian has in the packages {' '.join(packages)};"
            f" install what this system calls them.\n{OTHERWISE}"
        )
    with progress.step(f"installing the packages {' '.join(packages)}", "about a minute"):
        for attempt in (["apt-get", "update"], command):
            apt(attempt)


def apt(command: list[str], patience: float = 300) -> None:
    """Runs apt-get, and again for `patience` seconds while another process holds one of its locks.

    Raises:
        errors.ClusterError: it failed for another reason, or the lock was never free.
    """
    # A package of a service would start it; with RUNLEVEL=1 it is not.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    deadline = time.monotonic() + patience
    while True:
        done = subprocess.run(
            [*command, "-o", "DPkg::Lock::Timeout=60"], capture_output=True, text=True, check=False, env=environment
        )
        if not done.returncode:
            return
        if "Could not get lock" not in done.stderr or time.monotonic() > deadline:
            raise errors.ClusterError(f"`{' '.join(command)}` failed:\n{done.stderr[-2000:]}\n{OTHERWISE}")
        time.sleep(2)
