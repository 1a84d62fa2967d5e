"""Strata's own images, built by Strata: `python -m hack.images` builds what is missing and brings it to the cluster.

The tag is a hash of all that goes into an image, so that unchanged sources mean nothing to do. On our own cluster the
archives are loaded into the node; on an existing one (STRATA_CLUSTER=existing) the images are pushed to
$STRATA_IMAGE_REGISTRY.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cluster
from cluster import folders
from hack import tools
from strata_builder.registry import config, registries

SHARED = ("builder/runtime.sh", "builder/strata_builder", ".dockerignore")
KEPT = 6
"""Archives that stay in the cache; older ones are removed."""


@dataclass(frozen=True, slots=True)
class Image:
    """One of Strata's images: `part` is the folder of its Dockerfile, `sources` what goes into it."""

    part: str
    sources: tuple[str, ...]

    @property
    def tag(self) -> str:
        """12 hex digits over the names, modes and contents of the sources."""
        state = hashlib.sha256()
        for path in _files(self.sources):
            line = f"{path.relative_to(tools.ROOT)} {os.access(path, os.X_OK)} "
            state.update(line.encode() + hashlib.sha256(path.read_bytes()).digest())
        return state.hexdigest()[:12]

    @property
    def repository(self) -> str:
        """Where it lies: a name of its own on our cluster, below $STRATA_IMAGE_REGISTRY otherwise."""
        return f"{_home()}/{self.part}"

    @property
    def name(self) -> str:
        """The reference that pods use."""
        return f"{self.repository}:{self.tag}"


BUILDER = Image("builder", ("builder/Dockerfile", "requirements/builder.txt", *SHARED))
OPERATOR = Image("operator", ("operator/Dockerfile", "operator/strata_operator", "requirements/operator.txt", *SHARED))


def main() -> None:
    """Build, and bring to the cluster, what is not there yet."""
    where = cluster.current()
    for image in (OPERATOR, BUILDER):
        if where.bin_dir is None:
            if not _pushed(image):
                _build(image, ["--tag", image.name, "--push", *_insecure(), *mirror(where)])
        elif not _loaded(where, image):
            _load(image, archive(image, mirror(where)))
        tools.say(image.name)


def docker_mirror(where: cluster.Cluster) -> str:
    """The URL to ask before docker.io: our cluster's stand-in, or $STRATA_DOCKER_MIRROR; empty if there is none."""
    return f"http://{where.registry}" if where.registry else os.environ.get("STRATA_DOCKER_MIRROR", "")


def mirror(where: cluster.Cluster) -> list[str]:
    """`strata build`'s option for it."""
    url = docker_mirror(where)
    return ["--registry-mirror", f"docker.io={url}"] if url else []


def _pushed(image: Image) -> bool:
    """Whether the registry has the image; `docker login` is respected."""
    host, _, repository = image.repository.partition("/")
    settings = registries.Settings(
        insecure=frozenset({host} if _insecure() else ()),
        credentials=config.DockerConfig.load(config.default_paths(os.environ), run_helper=config.run_helper),
    )
    with registries.Registries(settings) as found:
        return found.get(host).head_manifest(repository, image.tag) is not None


def _home() -> str:
    if os.environ.get("STRATA_CLUSTER") != "existing":
        return "strata.build"
    if home := os.environ.get("STRATA_IMAGE_REGISTRY", "").rstrip("/"):
        return home
    raise tools.Stop(
        "an existing cluster pulls Strata's images from a registry: export STRATA_IMAGE_REGISTRY=registry.example/strata\n"
        "(`docker login` it first; for one without TLS also STRATA_IMAGE_REGISTRY_INSECURE=1)"
    )


def _insecure() -> list[str]:
    host = _home().split("/")[0]
    return ["--insecure-registry", host] if os.environ.get("STRATA_IMAGE_REGISTRY_INSECURE") else []


def _files(sources: tuple[str, ...]) -> Iterator[Path]:
    for source in sources:
        path = tools.ROOT / source
        inside = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in inside if file.is_file() and "__pycache__" not in file.parts)


def _loaded(where: cluster.Cluster, image: Image) -> bool:
    ctr = ["ctr", "-a", where.containerd, "-n", "k8s.io"]
    listed = tools.run(where, *ctr, "images", "ls", "-q", f"name=={image.name}", quiet=True)
    return image.name in listed.split()


def archive(image: Image, base: Sequence[str]) -> Path:
    """The OCI archive of the image, built if it is not in the cache; `base` are the flags by which its base is found."""
    cache = folders.cache() / "strata-images"
    cache.mkdir(exist_ok=True)
    found = cache / f"{image.part}-{image.tag}.tar"
    if not found.exists():
        fresh = found.with_suffix(f".{os.getpid()}.new")
        try:
            _build(image, ["--tag", image.name, "--output", f"type=oci,dest={fresh}", *base])
            fresh.replace(found)
        finally:
            fresh.unlink(missing_ok=True)
        _forget(cache)
    return found


def _forget(cache: Path) -> None:
    archives = sorted(cache.glob("*.tar"), key=lambda archive: archive.stat().st_mtime, reverse=True)
    for archive in archives[KEPT:]:
        archive.unlink()


def _load(image: Image, archive: Path) -> None:
    tools.say(f"loading {image.name} into the node")
    command = [str(tools.ROOT / ".venv/bin/python"), "-m", "cluster", "load", str(archive)]
    environment = {**os.environ, "PYTHONPATH": str(tools.ROOT / "tests")}
    if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        raise tools.Stop(f"{archive} could not be loaded; the reason is above")


def _build(image: Image, where_to: list[str]) -> None:
    tools.say(f"building {image.name} with strata (about half a minute)")
    start = time.monotonic()
    command = [str(tools.ROOT / ".venv/bin/strata"), "build", "--file", f"{image.part}/Dockerfile", *where_to, "."]
    environment = _epoch() | os.environ
    if code := subprocess.run(
        [*command, "--progress", "plain"], cwd=tools.ROOT, env=environment, check=False
    ).returncode:
        raise tools.Stop(f"{' '.join(command)}: exit code {code}; the reason is above")
    tools.say(f"built {image.name} in {time.monotonic() - start:.0f} s")


def _epoch() -> dict[str, str]:
    """The last commit's time as SOURCE_DATE_EPOCH, so that a clean checkout gives the image that its commit gives; none
    outside a repository."""
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=tools.ROOT, capture_output=True, text=True, check=False)
    return {"SOURCE_DATE_EPOCH": done.stdout.strip()} if done.returncode == 0 else {}


if __name__ == "__main__":
    tools.main(main)
