"""Ends a cluster and removes all that it left on the host, whatever state it is in."""

import re
import shutil
from pathlib import Path

from cluster import cgroups, folders, identity, network, processes, shell


def down(who: identity.Identity) -> None:
    """Removes processes, mounts, network, cgroups and state, in this order; what is not there is no failure.

    Raises:
        errors.ClusterError: a process or a mount cannot be removed.
    """
    processes.kill_all(who)
    state = folders.State.of(who)
    for target in mounts_below(state.root, Path("/proc/self/mounts").read_text()):
        shell.run("umount", "--lazy", target)
    network.remove(who)
    cgroups.remove(who.name)
    if state.root.exists():
        shutil.rmtree(state.root)


def mounts_below(root: Path, mounts: str) -> list[str]:
    """The mount points at or below a folder, newest first.

    `mounts`: content of /proc/self/mounts, with octal escapes.
    """
    targets = [
        re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[1]) for line in mounts.splitlines()
    ]
    return [target for target in reversed(targets) if target == str(root) or target.startswith(f"{root}/")]
