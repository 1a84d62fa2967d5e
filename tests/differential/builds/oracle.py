"""A BuildKit daemon of our own: its state on tmpfs, in mount and pid namespaces that end with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cluster import cgroups
from differential.builds import programs

START_SECONDS = 60.0
CONFIG = """\
root = "{folder}/root"
[grpc]
  address = ["unix://{folder}/socket"]
[history]
  maxEntries = 0
[worker.containerd]
  enabled = false
[worker.oci]
  binary = "{runc}"
  snapshotter = "overlayfs"
  networkMode = "host"
  gc = false
  defaultCgroupParent = "{cgroup}"
[registry."{registry}"]
  http = true
"""
MIRROR = """\
[registry."{upstream}"]
  mirrors = ["{registry}"]
"""


class Oracle:
    """`registry` is the host:port that stands in for `upstreams`, by plain HTTP; `runc` the runtime of the steps."""

    def __init__(self, registry: str, runc: Path, upstreams: Sequence[str] = ("docker.io",)) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="buildkit-", dir="/dev/shm"))
        self.programs = programs.BUILDKIT.ensure()
        self._runc = runc
        self.cgroup = f"strata-oracle-{secrets.token_hex(4)}"
        names = {"folder": self.folder, "registry": registry, "runc": runc, "cgroup": self.cgroup}
        mirrors = [MIRROR.format(upstream=upstream, registry=registry) for upstream in upstreams]
        (self.folder / "buildkitd.toml").write_text("".join([CONFIG.format_map(names), *mirrors]))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)  # of unshare: its child, the first process of the namespace, goes too
            process.wait(timeout=20)
        for hierarchy in cgroups.hierarchies():
            _remove_cgroup(hierarchy / self.cgroup)
        shutil.rmtree(self.folder)

    @property
    def address(self) -> str:
        """Where the daemon listens, as its clients are told."""
        return f"unix://{self.folder}/socket"

    def build(self, dockerfile: Path, context: Path, archive: Path, flags: Sequence[str]) -> str:
        """Builds into an OCI archive and returns what was said.

        Raises:
            Refused: the build failed.
        """
        local = ["--local", f"context={context}", "--local", f"dockerfile={dockerfile.parent}"]
        named = ["--opt", f"filename={dockerfile.name}", "--progress", "plain"]
        output = ["--output", f"type=oci,dest={archive},rewrite-timestamp=true"]
        ended = self._buildctl("build", "--frontend", "dockerfile.v0", *local, *named, *flags, *output)
        if ended.returncode:
            raise Refused(ended.stderr)
        return ended.stderr

    @property
    def pid(self) -> int:
        """Of the process whose children the daemon and all that it starts are."""
        assert self._process is not None, "it runs within `with` only"
        return self._process.pid

    def command(self, *arguments: str) -> list[str]:
        """The command line of its client."""
        return [str(self.programs / "buildctl"), "--addr", self.address, *arguments]

    def _buildctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, errors="replace", check=False)

    def _start(self) -> None:
        daemon = [str(self.programs / "buildkitd"), "--config", str(self.folder / "buildkitd.toml")]
        apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        path = (
            f"{self._runc.parent}:{os.environ.get('PATH', os.defpath)}"  # it looks there first, and then for `binary`
        )
        environment = {**os.environ, "PATH": path, "TMPDIR": str(self.folder), "HOME": str(self.folder)}
        with (self.folder / "log").open("wb") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", *apart, *daemon]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + START_SECONDS
        while (ended := self._buildctl("debug", "workers")).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"buildkitd did not start: {ended.stderr}\n{self.log[-3000:]}")
            time.sleep(0.1)


class Refused(Exception):
    """A builder refused to build; the text is what it said."""


def _remove_cgroup(folder: Path) -> None:
    """A cgroup and those below it. A process that was just killed keeps its cgroup busy for a moment."""
    for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _remove(below)
    if folder.exists():
        _remove(folder)


def _remove(folder: Path) -> None:
    for _ in range(50):
        with contextlib.suppress(FileNotFoundError):
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.1)
                continue
        return
    raise RuntimeError(f"the cgroup {folder} is still in use")
