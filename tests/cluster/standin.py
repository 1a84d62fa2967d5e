"""The storage of the stand-in registry: filled once, then shared by every cluster; each writes on top of it only."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from cluster import errors, folders, images, locks, progress, shell


def ensure(binaries: Path) -> Path:
    """The folder of the storage; makes the images and fills it if it is not there."""
    catalogue = images.catalogue(binaries / "registry")
    combined = hashlib.sha256(repr([(image.key, image.tags) for image in catalogue]).encode()).hexdigest()[:16]
    target = folders.cache() / "registry" / combined
    if target.exists():
        return target
    with locks.held("images"):
        if not target.exists():
            layouts = [(image, images.ensure(image)) for image in catalogue]
            with progress.step("filling the stand-in registry", "10 s"):
                fill(binaries, target, layouts)
    return target


def fill(binaries: Path, target: Path, layouts: list[tuple[images.Image, Path]]) -> None:
    """Pushes the images through a registry that runs for this alone, into a folder that is renamed when it is whole."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    address = f"127.0.0.1:{free_port()}"
    storage = {"filesystem": {"rootdirectory": str(unfinished)}}
    config = json.dumps({"version": 0.1, "log": {"level": "warn"}, "storage": storage, "http": {"addr": address}})
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "config.yml")
        file.write_text(config)
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        with subprocess.Popen(
            [binaries / "registry", "serve", file],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                wait_for(address, server)
                for image, layout in layouts:
                    push(image, layout, address)
            finally:
                server.kill()
    unfinished.rename(target)


def push(image: images.Image, layout: Path, address: str) -> None:
    """Copies one layout under each of its tags; after the first, only the manifest moves."""
    for tag in image.tags:
        destination = f"docker://{address}/{image.repository}:{tag}"
        shell.run(
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            f"oci:{layout}:{image.tags[0]}",
            destination,
        )


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, server: subprocess.Popen[bytes], patience: float = 20) -> None:
    """Returns when the server accepts connections.

    Raises:
        errors.ClusterError: it ended, or does not listen in time.
    """
    host, _, port = address.partition(":")
    deadline = time.monotonic() + patience
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise errors.ClusterError(f"the registry that fills the stand-in does not listen on {address}")
