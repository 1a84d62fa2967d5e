"""The container `build` of a builder pod on this machine: the builder's image as a bundle of runc, and about it what the
operator asks of a kubelet, with a runtime's usual files (OCI runtime-spec, config.md; the defaults are containerd's).

What a node adds is missing: a network namespace and the runtime's system call filter.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from hack import images as own_images

from cluster import cgroups, images, locks
from strata_builder import contract
from strata_operator import settings
from strata_operator.imagebuild import case, objects, questions, target
from strata_operator.registry import view
from support import imagebuilds

Body = dict[str, Any]
FIRST_IDS: Final[Mapping[str, int]] = {"InPlace": 0, "UserNS": 1_000_000}
IDS: Final = 65536
"""So many ids the kubelet gives a pod with `hostUsers: false`."""
PLACE: Final = "/mnt"
"""Of the bundle, in a mount namespace of its own: a path that another user may walk, unlike those of pytest."""
DEBIAN: Final = "debian:bookworm-slim"
MASKED: Final = ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "timer_list", "sched_debug", "scsi")
READ_ONLY: Final = ("bus", "fs", "irq", "sys", "sysrq-trigger")
FILES: Final[Mapping[str, str]] = {
    "hosts": "127.0.0.1 localhost\n127.0.1.1 buildkitsandbox\n",
    "resolv.conf": "nameserver 127.0.0.53\n",
    "hostname": "buildkitsandbox\n",
}
_SCRIPT: Final = """
set -e
mount -t tmpfs -o mode=755 root "$F" && mkdir "$F/upper" "$F/work" "$F/rootfs" "$F/state"
chown --reference="$I" "$F/upper"
mount -t overlay -o "lowerdir=$I,upperdir=$F/upper,workdir=$F/work" overlay "$F/rootfs"
cat > "$F/config.json"
exec "$RUNC" --root "$F/state" run --bundle "$F" "$N" < /dev/null
"""


@dataclass
class Bundles:
    """`runc` is the runtime; `folder` is scratch, into which the image is unpacked once."""

    runc: Path
    folder: Path
    cgroup: str = field(default_factory=lambda: f"strata-bundles-{secrets.token_hex(4)}")

    def __enter__(self) -> Self:
        found = archive(self.runc.parent)
        self._images = {rung: unpack(found, self.folder / rung, first) for rung, first in FIRST_IDS.items()}
        return self

    def __exit__(self, *_: object) -> None:
        cgroups.remove(self.cgroup)

    def start(self, rung: str, places: Mapping[str, Path], scratch: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """The container in a session of its own. `places` are what volumes hold, by where the pod mounts them (a file
        for what is a file there); `scratch` is an empty folder."""
        asked = container(rung)
        mounts = [*_usual(), *_network_files(scratch), *_volumes(asked, places, self._images[rung], rung)]
        config = _config(asked, mounts, f"/{self.cgroup}/{scratch.parent.name}-{secrets.token_hex(4)}", rung)
        names = {"F": PLACE, "I": str(self._images[rung]), "RUNC": str(self.runc), "N": secrets.token_hex(8)}
        apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        process = subprocess.Popen(
            [*apart, "sh", "-c", _SCRIPT],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **names},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        assert process.stdin is not None
        with process.stdin as given:
            given.write(json.dumps(config).encode())
        return process


def archive(node: Path) -> Path:
    """The builder's image of this source as an OCI archive, made if it is not in the cache; `node` has the program
    `registry`, of which one of the cluster's base images is made."""
    (debian,) = (image for image in images.catalogue(node / "registry") if image.repository == "library/debian")
    with locks.held("images"):
        layout = images.ensure(debian)
    return own_images.archive(own_images.BUILDER, ["--build-context", f"{DEBIAN}=oci-layout://{layout}"])


def unpack(archive: Path, folder: Path, first: int) -> Path:
    """The files of an image without whiteouts, such as the builder's, below `folder`; its owners begin at `first`."""

    def owned(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
        return member.replace(uid=member.uid + first, gid=member.gid + first, uname="", gname="", deep=False)

    folder.mkdir()
    os.chown(folder, first, first)
    with tarfile.open(archive) as tar:
        blobs = {member.name: member for member in tar}

        def read(name: str) -> IO[bytes]:
            reader = tar.extractfile(blobs[name])
            assert reader is not None
            return reader

        index = json.load(read("index.json"))
        manifest = json.load(read(_path(index["manifests"][0]["digest"])))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=read(_path(layer["digest"])), mode="r|*") as files:
                files.extractall(folder, filter=owned)
    return folder


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def container(rung: str) -> Body:
    """The container `build` that the operator makes on a rung, as its pod has it."""
    seen = case.Observed(imagebuilds.build(), imagebuilds.registry(), imagebuilds.namespace())
    planned = questions.Job(f"sib-web-{rung.lower()}", 1, 1, 1, "sha256:i", rung, "team/web")
    to = target.Target(view.view(seen.registry or {}), "team/web")
    options = settings.Settings(namespace="strata-system", builder_image="strata.build/builder")
    made = objects.make(seen, to, planned, options, resolv_conf="", ca_bundle="")
    pod = objects.pod_for_admission(made.job)["spec"]
    assert pod.get("hostUsers", True) is (rung != "UserNS")
    (found,) = (each for each in pod["containers"] if each["name"] == contract.BUILD)
    return dict(found)


def _config(asked: Body, mounts: list[Body], cgroup: str, rung: str) -> Body:
    security = asked["securityContext"]
    capabilities = [f"CAP_{name}" for name in security["capabilities"]["add"]]
    kinds = ["pid", "ipc", "uts", "mount", *(["user"] if rung == "UserNS" else [])]
    linux: Body = {
        "namespaces": [{"type": kind} for kind in kinds],
        "cgroupsPath": cgroup,
        "maskedPaths": [*(f"/proc/{name}" for name in MASKED), "/sys/firmware"],
        "readonlyPaths": [f"/proc/{name}" for name in READ_ONLY],
    }
    if rung == "UserNS":
        linux |= {"uidMappings": _MAPPING, "gidMappings": _MAPPING}
    return {
        "ociVersion": "1.2.0",
        "hostname": "buildkitsandbox",
        "root": {"path": "rootfs", "readonly": security["readOnlyRootFilesystem"]},
        "mounts": mounts,
        "linux": linux,
        "process": {
            "args": asked["command"],
            "cwd": "/",
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "env": ["PATH=/.strata/bin", *(f"{item['name']}={item['value']}" for item in asked["env"])],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
        },
    }


_MAPPING: Final = [{"containerID": 0, "hostID": FIRST_IDS["UserNS"], "size": IDS}]


def _usual() -> Iterator[Body]:
    """The file systems of every container; /sys is this machine's, as the network is."""
    quiet = ["nosuid", "noexec", "nodev"]
    yield _mount("/proc", "proc", "proc", *quiet)
    yield _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k")
    yield _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
    yield _mount("/dev/shm", "tmpfs", "shm", *quiet, "mode=1777", "size=65536k")
    yield _mount("/dev/mqueue", "mqueue", "mqueue", *quiet)
    yield _mount("/sys", "none", "/sys", "rbind", *quiet, "ro")


def _network_files(scratch: Path) -> Iterator[Body]:
    for name, text in FILES.items():
        (scratch / name).write_text(text)
        yield _mount(f"/etc/{name}", "none", str(scratch / name), "rbind", "ro")


def _volumes(asked: Body, places: Mapping[str, Path], image: Path, rung: str) -> Iterator[Body]:
    """What the operator mounts: the image's own folder, and `places`, whose files have the same owners within."""
    found = {contract.HOME: image / contract.HOME.lstrip("/"), **places}
    wanted = [*asked["volumeMounts"], {"mountPath": asked["terminationMessagePath"]}]
    for mount in sorted(wanted, key=lambda mount: mount["mountPath"].count("/")):
        if (path := mount["mountPath"]).startswith("/etc/"):
            continue
        ids = {"uidMappings": _MAPPING, "gidMappings": _MAPPING} if rung == "UserNS" else {}
        yield _mount(path, "none", str(found[path]), "bind", "ro" if mount.get("readOnly") else "rw") | ids


def _mount(path: str, kind: str, source: str, *options: str) -> Body:
    return {"destination": path, "type": kind, "source": source, "options": list(options)}
