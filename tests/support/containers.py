"""Containers made of namespaces alone: an empty root in memory, the machine's files read-only below /.strata/machine, and
the capabilities that a pod of level baseline can have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).parents[2]
MACHINE = "/.strata/machine"
_SCRIPT = """
set -e
mount --make-rprivate /
mkdir -p "$R" && mount -t tmpfs -o mode=755 root "$R" && cd "$R"
mkdir .strata proc dev sys etc old
mount -t tmpfs -o mode=755 strata .strata && mkdir .strata/machine
for place in $PLACES; do
    mkdir -p ".strata/${place%%=*}" && mount --bind "${place#*=}" ".strata/${place%%=*}"
done
mount --bind / .strata/machine && mount -o remount,bind,ro .strata/machine && mount -o remount,bind,ro .strata
if touch .strata/machine/strata-test .strata/strata-test 2>/dev/null; then
    echo "the machine is not read-only" >&2; exit 99
fi
mount -t proc proc proc
mount -t tmpfs -o mode=755,nosuid dev dev
for n in null zero full random urandom tty; do touch dev/$n; mount --bind /dev/$n dev/$n; done
mkdir dev/shm && mount -t tmpfs -o mode=1777 shm dev/shm
mkdir dev/pts && mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts && ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd && for n in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/${n%:*} dev/${n#*:}; done
mount --rbind /sys sys && mount -o remount,bind,ro sys
for n in hosts resolv.conf hostname; do touch etc/$n; echo "of the runtime" > dev/shm/$n; mount --bind dev/shm/$n etc/$n; done
hostname buildkitsandbox
pivot_root . old
start="$M$LOADER --library-path $LIBRARIES"
$start $M/usr/bin/umount -l old
$start $M/usr/bin/rmdir old
kept=+audit_write,+chown,+dac_override,+fowner,+fsetid,+kill,+mknod,+setfcap,+setgid,+setuid,+setpcap,+sys_chroot,+net_bind_service
exec $start $M/usr/bin/setpriv --bounding-set=-all,$kept --inh-caps=-all $start $M"$PYTHON" -u "$@"
"""


def start(
    arguments: Sequence[str],
    scratch: Path,
    places: Mapping[str, Path],
    *,
    stdin: int | None = None,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
) -> subprocess.Popen[bytes]:
    """Python with `arguments` as PID 1 of a new container, in a session of its own.

    `scratch` is a folder of this machine for what this needs, `places` are folders that lie writable below /.strata by
    their name there.
    """
    loader = Path("/lib64/ld-linux-x86-64.so.2").resolve()
    libraries = [f"{MACHINE}{place}/x86_64-linux-gnu" for place in ("/lib", "/usr/lib")]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = Path(sys.base_prefix).resolve()
    packages = [REPOSITORY / "builder", REPOSITORY / "tests", Path(sys.prefix) / "lib" / version / "site-packages"]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "R": str(scratch / "root"),
        "M": MACHINE,
        "PLACES": " ".join(f"{name}={path}" for name, path in places.items()),
        "LOADER": str(loader),
        "LIBRARIES": ":".join([*libraries, f"{MACHINE}{prefix}/lib"]),
        "PYTHON": str(prefix / "bin" / version),
        "PYTHONHOME": f"{MACHINE}{prefix}",
        "PYTHONPATH": ":".join(f"{MACHINE}{place}" for place in packages),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    namespaces = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    command = [*namespaces, "sh", "-c", _SCRIPT, "sh", *arguments]
    return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)


def run(driver: Path, scratch: Path, given: Any, timeout: float = 120) -> Any:
    """What `driver` printed as JSON, with `given` as JSON on its standard input; /.strata/scratch is writable."""
    (scratch / "scratch").mkdir()
    pipe, places = subprocess.PIPE, {"scratch": scratch / "scratch"}
    process = start([f"{MACHINE}{driver}"], scratch, places, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        said, complaints = process.communicate(json.dumps(given).encode(), timeout)
    finally:
        process.kill()
    assert process.returncode == 0, complaints.decode()
    return json.loads(said.splitlines()[-1])
