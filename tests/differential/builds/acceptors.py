"""Programs of others that unpack images: each makes the files of an OCI archive below a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support import programs

START_SECONDS = 60.0
CONFIG = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/socket"
[ttrpc]
address = "{folder}/socket.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.nri.v1.nri"]
disable = true
"""


class Rejected(AssertionError):
    """A program did not take the image; the text is what it said."""


def umoci(archive: Path, folder: Path) -> Path:
    """The root that umoci unpacks, from a layout that skopeo copies."""
    skopeo(f"oci-archive:{archive}", f"oci:{folder}/layout:image")
    umoci = programs.ensure("umoci", "umoci")
    run(umoci, "unpack", "--image", f"{folder}/layout:image", f"{folder}/bundle")
    return folder / "bundle/rootfs"


def containers_storage(source: str, folder: Path, *flags: str) -> Path:
    """The root of the topmost layer in the store of podman, buildah and CRI-O, with its driver of plain copies; `source`
    and `flags` are skopeo's."""
    skopeo(source, f"containers-storage:[vfs@{folder}/store+{folder}/run]example.test/image:1", *flags)
    (image,) = json.loads((folder / "store/vfs-images/images.json").read_text())
    return folder / "store/vfs/dir" / str(image["layer"])


def skopeo(source: str, target: str, *flags: str, all_platforms: bool = False) -> None:
    """`skopeo FLAGS copy`. Raises Rejected."""
    argv = [programs.ensure("skopeo", "skopeo"), "--insecure-policy", *flags, "copy", "-q"]
    insecure = ["--src-tls-verify=false"] if source.startswith("docker:") else []
    run(*argv, *insecure, *(["--all"] if all_platforms else []), source, target)


class Containerd:
    """The daemon of the cluster's programs in `node`, its state below `folder`, with a snapshotter of plain copies."""

    def __init__(self, node: Path, folder: Path) -> None:
        self._node, self._folder = node, folder

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """It ends with the context, and with this process."""
        (self._folder / "containerd.toml").write_text(CONFIG.format(folder=self._folder))
        daemon = [str(self._node / "containerd"), "--config", str(self._folder / "containerd.toml")]
        apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
        environment = {**os.environ, "PATH": f"{self._node}:{os.environ['PATH']}", "TMPDIR": str(self._folder)}
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen([*apart, *daemon], stdout=log, stderr=log, env=environment)
        try:
            self._wait(process)
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=20)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ctr("version")
                return
            except Rejected as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text()
                    raise RuntimeError(f"containerd did not start: {error}\n{log[-3000:]}") from error
            time.sleep(0.1)

    @contextlib.contextmanager
    def unpacked(self, archive: Path, diff_ids: Sequence[str]) -> Iterator[Path]:
        """The root that `ctr images import` unpacks of an archive whose image has one name."""
        self._ctr("images", "import", "--local", "--snapshotter", "native", str(archive))
        try:
            self._ctr("snapshots", "--snapshotter", "native", "prepare", "shown", chain_id(diff_ids))
            words = self._ctr("snapshots", "--snapshotter", "native", "mounts", "TARGET", "shown").split()
            yield Path(words[words.index("TARGET") - 1])  # as the words of mount(8)
        finally:
            self._ctr("snapshots", "--snapshotter", "native", "rm", "shown")
            self._ctr("images", "rm", "--sync", *self._ctr("images", "list", "-q").split())

    def _ctr(self, *arguments: str) -> str:
        return run(str(self._node / "ctr"), "--address", f"{self._folder}/socket", *arguments)


def chain_id(diff_ids: Sequence[str]) -> str:
    """Of a stack of layers, the lowest first: image-spec, config.md."""
    found = diff_ids[0]
    for diff_id in diff_ids[1:]:
        found = "sha256:" + hashlib.sha256(f"{found} {diff_id}".encode()).hexdigest()
    return found


def run(*argv: str) -> str:
    """What `argv` printed. Raises Rejected."""
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Rejected(f"{' '.join(argv)}: {ended.stderr}")
    return ended.stdout
