"""The command line: `PYTHONPATH=tests python -m cluster COMMAND`. See `--help`."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cluster import down, errors, existing, facts, folders, locks, processes, programs, progress, status, up

DESCRIPTION = """A real Kubernetes on one node, for Strata's demo and tests.

  up              start it; a second time does nothing; after a crash it repairs. Needs root on Linux.
                  The first time compiles Kubernetes and makes base images: 10 to 15 minutes, then seconds.
  status          what runs, and what is missing; exit code 1 if it cannot be used
  kubeconfig      print the path of the kubeconfig, and nothing else
  env             print shell exports (KUBECONFIG, PATH with kubectl, helm and ctr, addresses)
  load IMAGE...   import image archives (OCI layout or docker-archive tar, - for stdin) into the node
  exec -- CMD     run a command inside the node: its network, mounts, processes and name resolution
  logs PROGRAM    print the log of one of the node's programs (-f to follow)
  down            end it, and leave nothing behind

First steps:
  python -m cluster up && eval "$(python -m cluster env)"
  kubectl get nodes
  kubectl run hello --image busybox:1.36 --restart Never -it --rm -- nslookup kubernetes.default

Settings (environment):
  STRATA_CLUSTER=existing  use the cluster of $KUBECONFIG instead; its context must be kind-*, strata-*,
                           or the one named by STRATA_ALLOW_CONTEXT
  STRATA_CLUSTER_NAME      a word; names a further cluster of this checkout, beside the default one
  STRATA_CACHE             folder of compiled programs and base images (default: ~/.cache/strata)
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    whole = argparse.ArgumentParser(
        prog="python -m cluster", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in (
        ("up", do_up),
        ("down", do_down),
        ("status", do_status),
        ("kubeconfig", do_kubeconfig),
        ("env", do_env),
    ):
        commands.add_parser(name).set_defaults(function=function)
    load = commands.add_parser("load")
    load.add_argument("image", nargs="+", help="an OCI layout tar or docker-archive tar; - reads one from stdin")
    load.set_defaults(function=do_load)
    inside = commands.add_parser("exec")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")
    inside.set_defaults(function=do_exec)
    logs = commands.add_parser("logs")
    logs.add_argument("program", choices=["init", *programs.names()])
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.set_defaults(function=do_logs)
    return whole


def do_up(_: argparse.Namespace) -> int:
    """Starts our cluster, or checks the existing one."""
    if existing.wanted():
        return do_status(_)
    cluster = up.up(folders.this_cluster())
    progress.say(f"ready: export KUBECONFIG={cluster.kubeconfig}")
    return 0


def do_down(_: argparse.Namespace) -> int:
    """Ends our cluster."""
    if existing.wanted():
        raise errors.ClusterError("STRATA_CLUSTER=existing: that cluster is not ours to end; unset it to end our own")
    who = folders.this_cluster()
    with locks.held(who.name), progress.step(f"ending {who.name}"):
        down.down(who)
    return 0


def do_status(_: argparse.Namespace) -> int:
    """Tells what runs."""
    if existing.wanted():
        return check_existing()
    who = folders.this_cluster()
    problems = status.problems(who)
    for name, pid in sorted(status.running(who).items()):
        print(f"{name:<24} pid {pid}")
    for problem in problems:
        print(f"{who.name}: {problem}")
    print(f"{who.name}: " + (f"not usable: {facts.START}" if problems else f"ready, node {facts.current().node_ip}"))
    return 1 if problems else 0


def check_existing() -> int:
    """Asks the existing cluster for its version."""
    name, path = existing.context()
    kubectl = shutil.which("kubectl")
    if not kubectl:
        raise errors.ClusterError("kubectl is not on PATH; an existing cluster needs it")
    done = subprocess.run(
        [kubectl, "--kubeconfig", path, "version", "--request-timeout=10s"], check=False, stdout=sys.stderr
    )
    print(f"{name}: " + ("reachable" if not done.returncode else "not reachable"))
    return 1 if done.returncode else 0


def do_kubeconfig(_: argparse.Namespace) -> int:
    """Prints the path."""
    print(facts.current().kubeconfig)
    return 0


def do_env(_: argparse.Namespace) -> int:
    """Prints what a shell needs."""
    cluster = facts.current()
    values = {"KUBECONFIG": str(cluster.kubeconfig)}
    if cluster.bin_dir and cluster.node_ip and cluster.registry:
        values["STRATA_NODE_IP"] = cluster.node_ip
        values["STRATA_STANDIN_REGISTRY"] = cluster.registry
        values["CONTAINERD_ADDRESS"] = cluster.containerd
        values["CONTAINERD_NAMESPACE"] = "k8s.io"
        values["CONTAINER_RUNTIME_ENDPOINT"] = f"unix://{cluster.containerd}"
        print(f'export PATH={shlex.quote(str(cluster.bin_dir))}:"$PATH"')
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def own() -> tuple[facts.Cluster, Path, Path]:
    """Our own running cluster, its folder of programs and its state folder.

    Raises:
        errors.ClusterError: it does not run, or another cluster is to be used.
    """
    cluster = facts.current()
    if cluster.bin_dir is None or cluster.state is None:
        raise errors.ClusterError(
            "this works on our own cluster only: unset STRATA_CLUSTER (for kind: `kind load image-archive FILE`)"
        )
    return cluster, cluster.bin_dir, cluster.state


def do_load(arguments: argparse.Namespace) -> int:
    """Imports archives where the kubelet looks for images."""
    cluster, programs_folder, _ = own()
    for image in arguments.image:
        if image != "-" and not Path(image).is_file():
            raise errors.ClusterError(
                f"{image} is not a file: give the path of an image archive, or - to read one from stdin"
            )
        command = [
            programs_folder / "ctr",
            "--address",
            cluster.containerd,
            "--namespace",
            "k8s.io",
            "images",
            "import",
            image,
        ]
        if done := subprocess.run(command, check=False).returncode:
            raise errors.ClusterError(f"ctr could not import {image} (exit code {done}); its message is above")
    return 0


def do_exec(arguments: argparse.Namespace) -> int:
    """Becomes the command.

    It dies with whoever started it (setpriv) and with the node (it is in its process namespace).
    """
    own()
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    pid = processes.init(folders.this_cluster())
    if not argv or pid is None:
        raise errors.ClusterError(
            "nothing to run: `python -m cluster exec -- ip addr`"
            if not argv
            else f"the node does not run: {facts.START}"
        )
    enter = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", f"--wdns={Path.cwd()}", "--"]
    os.execvp(enter[0], [*enter, "setpriv", "--pdeathsig", "KILL", "--", *argv])


def do_logs(arguments: argparse.Namespace) -> int:
    """Becomes `tail`."""
    state = own()[2]
    os.execvp(
        "tail",
        ["tail", "-n", "+1", *(["-f"] if arguments.follow else []), str(state / "log" / f"{arguments.program}.log")],
    )


def main() -> int:
    """Runs one command; failures that people can do something about are told without a traceback."""
    arguments = parser().parse_args()
    function: Callable[[argparse.Namespace], int] = arguments.function
    try:
        return function(arguments)
    except errors.ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
