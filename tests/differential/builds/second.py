"""Debian's buildah as a second oracle: its store on tmpfs, steps in a chroot, a layer for each step, as plain copies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from differential.builds import compare, folders, images, layerwise, unpacked
from differential.builds.cases import Case
from differential.builds.strata import EPOCH, Built
from support import programs

REGISTRIES = """\
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "{registry}"
insecure = true
"""
FLAGS = ("platform", "target", "network")
LEFT = frozenset({"etc/hostname", "etc/hosts", "etc/resolv.conf", "run"})
"""What a step in a chroot leaves behind."""
NOT_OCI = frozenset({"Healthcheck", "Shell", "OnBuild"})
"""Fields that buildah writes in Docker's format alone."""


class Buildah:
    """`registry` is the host:port that stands in for docker.io, by plain HTTP. `folder` is there while it is entered."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._program = programs.ensure("buildah", "buildah")

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="buildah-", dir="/dev/shm"))
        (self.folder / "registries.conf").write_text(REGISTRIES.format(registry=self._registry))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def build(self, case: Case, made: folders.Folders, archive: Path) -> Built:
        """An image, or the words of its refusal."""
        named = ["--file", str(made.dockerfile), "--tag", "image", "--timestamp", str(EPOCH), "--isolation", "chroot"]
        built = self._run(
            "bud", "--format", "oci", "--layers", "--no-cache", *named, *_flags(case, made), str(made.context)
        )
        if built.returncode == 0:
            built = self._run("push", "--quiet", "image", f"oci-archive:{archive}")
        if built.returncode:
            return Built(None, built.stderr)
        return Built(images.read(archive, {}), built.stderr)

    def _run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        store = ["--root", f"{self.folder}/store", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"]
        environment = {
            **os.environ,
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "TMPDIR": str(self.folder),
            "BUILDAH_FORMAT": "oci",
        }
        argv = [self._program, *store, command, *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, errors="replace", check=False)


def _flags(case: Case, made: folders.Folders) -> Iterator[str]:
    for name, value in case.settings:
        if name in FLAGS:
            yield f"--{name}={value}"
        elif name in ("arg", "label"):
            yield from ("--build-arg" if name == "arg" else "--label", value)
    for name, path in made.secrets.items():
        yield f"--secret=id={name},src={path}"
    for name, path in made.named.items():
        yield f"--build-context={name}={path}"


def differences(strata: Built, buildah: Built) -> list[str]:
    """One line for each file and each field of the config that differ, and for each path of a layer of which no such line
    tells. buildah's times and the words of its history are another matter: they are not compared."""
    if strata.image is None or buildah.image is None:
        return (
            []
            if strata.image == buildah.image
            else [f"outcome: only {'buildah' if buildah.image else 'Strata'} builds"]
        )
    mine, theirs = unpacked.said(strata.image), unpacked.said(buildah.image)
    for path in LEFT - mine.keys():
        theirs.pop(path, None)
    told = {path: (_told(mine.get(path)), _told(theirs.get(path))) for path in sorted(mine.keys() | theirs.keys())}
    lines = [f"{path}: {one}, buildah {other}" for path, (one, other) in told.items() if one != other]
    differ = [path for path, (one, other) in told.items() if one != other]
    lines += layerwise.differences(strata.image, buildah.image, differ, LEFT)
    configs = compare.configs(_plain(strata.image), _plain(buildah.image))
    return lines + [line.replace("BuildKit", "buildah") for line in configs]


def _told(facts: unpacked.Facts | None) -> str:
    if facts is None:
        return "absent"
    uid, gid = facts.owner
    parts = [
        facts.kind,
        f"{facts.mode & 0o7777:04o}",
        f"{uid}:{gid}",
        facts.link,
        facts.content[:12],
        *map(str, facts.links),
    ]
    parts += [f"{major}:{minor}" for major, minor in [facts.device] if facts.device != (0, 0)]
    return " ".join([*filter(None, parts), *(f"{name}={value!r}" for name, value in sorted(facts.xattrs.items()))])


def _plain(image: images.Image) -> dict[str, Any]:
    """The config without times, without fields that one of both cannot have, and without the label of buildah's own."""
    inner = {key: value for key, value in image.config.get("config", {}).items() if key not in NOT_OCI}
    if inner.get("WorkingDir") == "/":  # where a program starts anyway
        del inner["WorkingDir"]
    inner["Labels"] = {k: v for k, v in (inner.get("Labels") or {}).items() if not k.startswith("io.buildah.")}
    return {**{k: v for k, v in image.config.items() if k != "created"}, "config": inner, "history": []}
