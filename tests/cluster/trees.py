"""File trees of the base images, made from the host's Debian packages into a folder.

One function an image; each fills an empty folder.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cluster import errors, shell, sources

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
EXTRA_AUTHORITIES = Path("/usr/local/share/ca-certificates")

USERS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUPS = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nwww-data:x:33:\nnogroup:x:65534:\n"

PAUSE_SOURCE = """#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, leave); signal(SIGTERM, leave); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""

REGISTRY_CONFIG = """version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""
REGISTRY_ENTRYPOINT = """#!/bin/sh
set -e
case "$1" in
    *.yaml|*.yml) set -- registry serve "$@" ;;
    serve|garbage-collect|help|-*) set -- registry "$@" ;;
esac
exec "$@"
"""


def pause(tree: Path) -> None:
    """The program that holds a pod's namespaces and does nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "pause.c")
        source.write_text(PAUSE_SOURCE)
        shell.run("gcc", "-static", "-O2", "-s", "-o", tree / "pause", source)


def busybox(tree: Path) -> None:
    """busybox-static with a link for each of its commands, and the few files that programs expect of a system."""
    for folder in ("bin", "etc/ssl/certs", "home", "root", "tmp", "usr/bin", "usr/sbin", "var/tmp", "var/www"):
        (tree / folder).mkdir(parents=True)
    for shared in ("tmp", "var/tmp"):
        (tree / shared).chmod(0o1777)
    (tree / "root").chmod(0o700)
    program = Path(shutil.which("busybox") or "/bin/busybox")
    shutil.copy(program, tree / "bin" / "busybox")
    for name in shell.run(program, "--list").split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "usr/bin/env").symlink_to("/bin/env")
    (tree / "etc/passwd").write_text(USERS)
    (tree / "etc/group").write_text(GROUPS)
    shutil.copyfile(CA_BUNDLE, tree / "etc/ssl/certs/ca-certificates.crt")


def registry(tree: Path, program: Path) -> None:
    """The distribution registry as its own image has it: the same paths, configuration and entry point.

    Any user may run it.
    """
    busybox(tree)
    shutil.copy(program, tree / "bin" / "registry")
    (tree / "etc/distribution").mkdir()
    (tree / "etc/distribution/config.yml").write_text(REGISTRY_CONFIG)
    entrypoint = tree / "entrypoint.sh"
    entrypoint.write_text(REGISTRY_ENTRYPOINT)
    entrypoint.chmod(0o755)
    data = tree / "var/lib/registry"
    data.mkdir(parents=True)
    data.chmod(0o777)


def debian(tree: Path, suite: str, packages: Iterable[str] = ()) -> None:
    """A minimal Debian without manual pages and translations, whose apt works with the sources of this host."""
    entries = sources.of_host(suite)
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")]
    included = [f"--include={','.join(packages)}"] if packages else []
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", *excluded, *included]
    command += ['--aptopt=Acquire::Languages "none"', suite, str(tree), "-"]
    done = subprocess.run(
        command,
        input="\n".join(entries) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tree.parent)},
    )
    if done.returncode:
        raise errors.ClusterError(f"mmdebstrap could not make Debian {suite}:\n{done.stderr[-3000:]}")
    (tree / "etc/apt/sources.list").write_text("\n".join(entries) + "\n")
    for host_file in ("etc/resolv.conf", "etc/hostname"):
        (tree / host_file).unlink(missing_ok=True)
    (tree / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    # Where a host trusts further authorities, `apt-get install ca-certificates` in the image must go on trusting them.
    if EXTRA_AUTHORITIES.is_dir():
        shutil.copytree(EXTRA_AUTHORITIES, tree / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    shutil.copyfile(CA_BUNDLE, tree / "etc/ssl/certs/ca-certificates.crt")


def python(tree: Path, suite: str) -> None:
    """Debian with its Python, under the names that the Python project's image has; pip may write to the system."""
    debian(tree, suite, ("python3", "python3-pip", "python3-venv", "ca-certificates"))
    for marker in tree.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name, target in (("python", "python3"), ("python3", "python3"), ("pip", "pip3"), ("pip3", "pip3")):
        (tree / "usr/local/bin" / name).symlink_to(f"/usr/bin/{target}")
