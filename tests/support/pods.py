"""A builder pod as processes of this machine: one home a container, the shared folders behind links."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from strata_builder import contract
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import host
from strata_builder.registry import push
from strata_builder.registry.client import Registry
from support import layertrees
from support.registry_process import RegistryProcess

TESTS = Path(__file__).parent.parent
SHARED = ("inputs", "outputs", "wanted", "secrets", "alive")
ID = contract.BuildId("team", "web", "uid-1", 1, 1, 1, "sha256:" + "0" * 64)


def request(registry: str, **fields: Any) -> contract.BuildRequest:
    """A request that pushes to `registry` (plain HTTP) as team/web."""
    output = contract.Output(registry, "team/web", insecure=True)
    given = {"build": ID, "output": output, "platforms": (str(host()),), "timeout_seconds": 120, **fields}
    return contract.BuildRequest(**given)


def docker_config(host_name: str, user: str, password: str) -> str:
    return json.dumps({"auths": {host_name: {"username": user, "password": password}}})


def push_base(registry: str, repository: str, tag: str, scratch: Path, credentials: Any = None) -> Image:
    """A small real base image of a static busybox, with /bin/sh, a user and a folder."""
    busybox = Path("/usr/bin/busybox").read_bytes()
    items = [
        layertrees.folder("bin"),
        layertrees.file("bin/busybox", busybox, mode=0o755),
        *(
            layertrees.link(f"bin/{name}", "busybox")
            for name in ("sh", "cat", "echo", "ls", "mkdir", "sleep", "rm", "id")
        ),
        layertrees.folder("etc"),
        layertrees.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"),
        layertrees.file("etc/group", b"root:x:0:\napp:x:1000:\n"),
        layertrees.folder("tmp", mode=0o1777),
        layertrees.folder("root", mode=0o700),
        *(layertrees.folder(name) for name in ("proc", "sys", "dev", "run")),
    ]
    packed = layertrees.packed(scratch / "base-layer", items)
    layer = LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)
    image = Image.scratch(host()).append(layer, History(created="2024-01-01T00:00:00Z", created_by="base"))
    image = image.with_config(image.config.with_(env=["PATH=/bin"]))
    client = Registry(registry, insecure=True, credentials=credentials)
    blobs = {packed.digest: _opener(packed.blob)}
    descriptor = push.push_image(client, repository, image, lambda wanted: blobs.get(wanted.digest))
    client.put_manifest(repository, tag, image.manifest_bytes(), descriptor.media_type)
    client.close()
    return image


@dataclass
class Container:
    """One role's process and its home."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def wait(self, timeout: float = 60) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as e:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.home.name} did not end:\n{self.log}") from e

    @property
    def said(self) -> contract.BuildResult | contract.Failure | None:
        path = self.home / "termination/message"
        return contract.decode_result(path.read_text()) if path.exists() and path.stat().st_size else None

    def result(self) -> contract.BuildResult:
        said = self.said
        assert isinstance(said, contract.BuildResult), f"{said}\n{self.log}"
        return said

    def failure(self) -> contract.Failure:
        said = self.said
        assert isinstance(said, contract.Failure), f"{said}\n{self.log}"
        return said


@dataclass
class Pod:
    """`files` are the context's; `pull`, `push` docker configs; `secrets` the files of SECRET_SOURCES."""

    folder: Path
    request: contract.BuildRequest
    files: Mapping[str, str] = field(default_factory=dict)
    dockerfile: str | None = None
    pull: str = ""
    push: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    source_credentials: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    started: list[Container] = field(default_factory=list)

    def start(self, role: str, module: str = "strata_builder.pod") -> Container:
        home = self.home(role)
        command = [sys.executable, "-m", module, role, "--home", str(home)]
        search = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, **self.environment, "TMPDIR": str(home / "scratch"), "PYTHONPATH": search}
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        container = Container(home, process)
        self.started.append(container)
        return container

    def home(self, role: str) -> Path:
        """What the kubelet would mount for `role`, made once."""
        home = self.folder / role
        if home.exists():
            return home
        for name in SHARED:
            (self.folder / "shared" / name).mkdir(parents=True, exist_ok=True)
        home.mkdir()
        for name in SHARED:
            (home / name).symlink_to(self.folder / "shared" / name)
        (home / "scratch").mkdir()
        _write(home / "request/request.json", contract.encode(self.request))
        if role in ("fetch", "all"):
            for name, text in self.files.items():
                _write(home / "files" / name, text)
            (home / "files").mkdir(exist_ok=True)
            if self.dockerfile is not None:
                _write(home / "dockerfile/Dockerfile", self.dockerfile)
            for name, text in self.secrets.items():
                _write(home / "secret-sources" / name, text)
            for name, data in self.source_credentials.items():
                _write(home / "credentials/source" / name, data.decode())
            if self.pull:
                _write(home / "credentials/pull/one/.dockerconfigjson", self.pull)
        if role in ("push", "all") and self.push:
            _write(home / "credentials/push/.dockerconfigjson", self.push)
        return home

    def end(self) -> None:
        """Kills what still runs of each session, also what a role has left."""
        for container in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(container.process.pid, signal.SIGKILL)
            container.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def lose(server: RegistryProcess, digest: str) -> None:
    """Takes a blob away from a registry, as a collection gone wrong would."""
    name = digest.removeprefix("sha256:")
    shutil.rmtree(server.storage / "blobs/sha256" / name[:2] / name)
    for link in server.storage.glob(f"repositories/**/_layers/sha256/{name}"):
        shutil.rmtree(link)
    server.restart()


def _opener(blob: Path) -> Callable[[], BinaryIO]:
    return lambda: blob.open("rb")


def eventually(path: Path, seconds: float = 20) -> Path:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
