"""Brings a cluster up: checks the host, fills the cache, starts the node, and waits until it can be used."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster import (
    api,
    binaries,
    cgroups,
    configs,
    errors,
    facts,
    folders,
    identity,
    locks,
    network,
    objects,
    pki,
    processes,
    programs,
    progress,
    requirements,
    standin,
    status,
)
from cluster.down import down

PRIVATE = ("/var/lib/kubelet", "/run/containerd", "/var/lib/cni", "/run/netns", "/var/log/containers", "/var/log/pods")
"""Where kubelet, shims and CNI write whatever their flags say: each node gets its own, on tmpfs."""
VOLUMES = "/tmp/hostpath_pv"
"""Where the controller manager's provisioner makes volumes; its path is fixed."""
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
PATIENCE = 90.0
"""Seconds; on two idle processors four are enough."""


def up(who: identity.Identity) -> facts.Cluster:
    """The running cluster. If it runs, nothing is done; if it half runs, or was killed, a new one replaces it.

    Raises:
        errors.ClusterError: it cannot run here, or does not become ready; the text says why.
    """
    requirements.check()
    with locks.held(who.name):
        state = folders.State.of(who)
        if not status.problems(who):
            progress.say(f"{who.name} is up already")
            return facts.read(state.facts)
        programs_folder = binaries.ensure()
        storage = standin.ensure(programs_folder)
        with progress.step(f"starting {who.name}", "about 5 s"):
            down(who)
            return start(who, state, programs_folder, storage)


def start(who: identity.Identity, state: folders.State, programs_folder: Path, storage: Path) -> facts.Cluster:
    """Starts a node where nothing is left of an earlier one.

    Raises:
        errors.ClusterError: it does not become ready.
    """
    net = network.make(who)
    node = configs.Node(who.name, net.node, state.root, programs_folder)
    lay_out(node, state)
    pki.make(state / "pki", node.ip, who.name, state.kubeconfig)
    cgroups.make(who.name)
    write_plan(node, storage)
    wait(who, state, node.ip, launch(who, state))
    cluster = facts.Cluster(who.name, state.kubeconfig, node.ip, node.registry, programs_folder, who.name, state.root)
    facts.write(state.facts, cluster)
    return cluster


def lay_out(node: configs.Node, state: folders.State) -> None:
    """Makes the state folder and all configuration in it.

    Every parent of containerd's folders must be open to search: pods with user namespaces reach their root so.
    """
    state.root.mkdir(mode=0o711)
    for name in (
        "containerd",
        "containerd-state",
        "log",
        "pods",
        "volumes",
        "registry",
        "registry-lower",
        "registry-upper",
        "registry-work",
    ):
        (state / name).mkdir(mode=0o711)
    for name, content in configs.files(node).items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(content)
    servers = configs.upstream(Path("/etc/resolv.conf").read_text(), RESOLVED.read_text() if RESOLVED.exists() else "")
    if not servers:
        raise errors.ClusterError(
            "/etc/resolv.conf names no server that pods can reach (only loopback): put a real `nameserver` line in it"
        )
    (state / "upstream.conf").write_text(servers)


def write_plan(node: configs.Node, storage: Path) -> None:
    """Writes what PID 1 is to mount and start."""
    whole = plan(node, storage, os.path.realpath("/etc/resolv.conf"))
    (node.state / "init.json").write_text(json.dumps(whole, indent=1))


def plan(node: configs.Node, storage: Path, resolv_conf: str) -> dict[str, Any]:
    """The plan as JSON value. `resolv_conf`: the real path of /etc/resolv.conf, links followed."""
    layers = ",".join(f"{kind}dir={node.state}/registry-{kind}" for kind in ("lower", "upper", "work"))
    return {
        "mounts": [
            *(["-t", "tmpfs", "-o", "mode=755", "tmpfs", path] for path in PRIVATE),
            ["--bind", f"{node.state}/volumes", VOLUMES],
            # The node itself resolves Services, so that containerd can pull from a registry behind one.
            ["--bind", f"{node.state}/resolv.conf", resolv_conf],
            # Bound first, since a path with a comma or colon cannot be given to overlay.
            ["--bind", str(storage), f"{node.state}/registry-lower"],
            ["-t", "overlay", "-o", layers, "overlay", f"{node.state}/registry"],
        ],
        "environment": {
            "PATH": f"{node.binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "OTEL_TRACES_EXPORTER": "none",
        },
        "authority": f"{node.state}/pki/ca.crt",
        "stages": programs.stages(node),
    }


def launch(who: identity.Identity, state: folders.State) -> subprocess.Popen[bytes]:
    """Starts PID 1 in namespaces of its own; it outlives this process and the terminal. What is given holds it, and ends
    with it."""
    command = [
        "nsenter",
        f"--net=/run/netns/{who.name}",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ]
    command += [
        "--propagation",
        "slave",
        sys.executable,
        "-I",
        str(folders.SOURCE / "init.py"),
        processes.MARK,
        who.name,
        str(state.root),
    ]
    with (state.logs / "init.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )


def wait(who: identity.Identity, state: folders.State, ip: str, holder: subprocess.Popen[bytes]) -> None:
    """Waits until the cluster is ready, and makes its objects as soon as the API server takes them. `holder` is what
    `launch` gave: of a process in the middle of an exec /proc tells no command, by which to find it.

    Raises:
        errors.ClusterError: PID 1 ended, or time is up.
    """
    deadline = time.monotonic() + PATIENCE
    server = api.Api.of(ip, state / "pki")
    made = False
    waiting: list[str] = []
    while time.monotonic() < deadline:
        if not made and server.ready():
            for prefix, plural, body in objects.all_of_them():
                server.apply(prefix, plural, body)
            made = True
        if made and not (waiting := status.not_ready(server, ip)):
            return
        if holder.poll() is not None:
            break
        time.sleep(0.1)
    tail = (state.logs / "init.log").read_text(errors="replace")[-2000:]
    what = "ended" if holder.poll() is not None else f"did not become ready in {PATIENCE:.0f} s"
    raise errors.ClusterError(
        f"{who.name} {what}; waiting for: {', '.join(waiting) or 'the API server'}.\n"
        f"Logs of the programs: {state.logs}. The end of PID 1's:\n{tail}"
    )
