"""A container made of namespaces alone: an empty root in memory, this machine's files read-only below /.strata, and the
capabilities that a pod of level baseline can have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
_SCRIPT = """
set -e
mount --make-rprivate /
mkdir -p "$R" && mount -t tmpfs -o mode=755 root "$R" && cd "$R"
mkdir .strata proc dev sys etc old strata-scratch
mount --bind / .strata && mount -o remount,bind,ro .strata
if touch .strata/strata-test 2>/dev/null; then echo "the machine is not read-only" >&2; exit 99; fi
mount -t proc proc proc
mount -t tmpfs -o mode=755,nosuid dev dev
for n in null zero full random urandom tty; do touch dev/$n; mount --bind /dev/$n dev/$n; done
mkdir dev/shm && mount -t tmpfs -o mode=1777 shm dev/shm
mount --rbind /sys sys && mount -o remount,bind,ro sys
for n in hosts resolv.conf hostname; do touch etc/$n; echo "of the runtime" > dev/shm/$n; mount --bind dev/shm/$n etc/$n; done
mount -t tmpfs scratch strata-scratch
pivot_root . old
start="/.strata$LOADER --library-path $LIBRARIES"
$start /.strata/usr/bin/umount -l old
$start /.strata/usr/bin/rmdir old
kept=+chown,+dac_override,+fowner,+fsetid,+kill,+mknod,+setfcap,+setgid,+setuid,+sys_chroot
exec $start /.strata/usr/bin/setpriv --bounding-set=-all,$kept --inh-caps=-all $start /.strata"$PYTHON" -u /.strata"$DRIVER"
"""


def run(driver: Path, scratch: Path, given: Any, timeout: float = 120) -> Any:
    """What `driver` printed as JSON, run as PID 1 in a new container with `given` as JSON on its standard input."""
    loader = Path("/lib64/ld-linux-x86-64.so.2").resolve()
    libraries = [f"/.strata{place}/x86_64-linux-gnu" for place in ("/lib", "/usr/lib")]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = Path(sys.base_prefix).resolve()
    packages = [REPOSITORY / "builder", REPOSITORY / "tests", Path(sys.prefix) / "lib" / version / "site-packages"]
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "R": str(scratch / "root"),
        "LOADER": str(loader),
        "LIBRARIES": ":".join([*libraries, f"/.strata{prefix}/lib"]),
        "PYTHON": str(prefix / "bin" / version),
        "DRIVER": str(driver),
        "PYTHONHOME": f"/.strata{prefix}",
        "PYTHONPATH": ":".join(f"/.strata{place}" for place in packages),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", _SCRIPT],
        input=json.dumps(given),
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
