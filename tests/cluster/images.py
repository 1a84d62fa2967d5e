"""The base images that stand in for those of docker.io and registry.k8s.io, each an OCI layout in the cache."""

import ast
import hashlib
import inspect
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cluster import folders, layout, progress, sources, trees

SUITE = "bookworm"
SYSTEM_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """A base image."""

    repository: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    """The `config` object of the image configuration."""
    fill: Callable[[Path], None]
    """Makes its file system in an empty folder."""
    inputs: tuple[str, ...]
    """All that the file system depends on beside the source of `trees`."""
    expected: str

    @property
    def key(self) -> str:
        """The hash of the recipe: same key, same image."""
        recipe = [code(trees), code(layout), *self.inputs, json.dumps(self.config, sort_keys=True), self.repository]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def catalogue(registry: Path) -> list[Image]:
    """All base images. `registry`: the compiled registry program, which becomes one of them."""
    bundle = digest(trees.CA_BUNDLE)
    authorities = [digest(file) for file in sorted(trees.EXTRA_AUTHORITIES.rglob("*")) if file.is_file()]
    small = (bundle, digest(Path(shutil.which("busybox") or "/bin/busybox")))
    large = (bundle, *authorities, *sources.of_host(SUITE), SUITE)
    shell = {"Env": [SYSTEM_PATH], "Cmd": ["sh"]}
    serve = {
        "Env": [SYSTEM_PATH, "OTEL_TRACES_EXPORTER=none"],
        "Entrypoint": ["/entrypoint.sh"],
        "Cmd": ["/etc/distribution/config.yml"],
        "ExposedPorts": {"5000/tcp": {}},
        "Volumes": {"/var/lib/registry": {}},
    }
    debian = {"Env": [SYSTEM_PATH], "Cmd": ["bash"]}
    python = {"Env": [SYSTEM_PATH, "LANG=C.UTF-8"], "Cmd": ["python3"]}

    def fill_registry(tree: Path) -> None:
        trees.registry(tree, registry)

    def fill_debian(tree: Path) -> None:
        trees.debian(tree, SUITE)

    def fill_python(tree: Path) -> None:
        trees.python(tree, SUITE)

    return [
        Image("pause", ("3.10.1",), {"Entrypoint": ["/pause"], "User": "65535:65535"}, trees.pause, (), "1 s"),
        Image("library/busybox", ("1.36", "latest"), shell, trees.busybox, small, "1 s"),
        Image("library/registry", ("3", "3.1.1"), serve, fill_registry, (*small, digest(registry)), "3 s"),
        Image("library/debian", ("bookworm-slim", "bookworm", "12"), debian, fill_debian, large, "40 s to 2 minutes"),
        Image("library/python", ("3.11-slim", "3.11", "3-slim"), python, fill_python, large, "1 to 4 minutes"),
    ]


def ensure(image: Image) -> Path:
    """The OCI layout of an image in the cache; makes it if it is not there."""
    target = folders.cache() / "images" / f"{image.repository.rpartition('/')[2]}-{image.key}"
    if target.exists():
        return target
    with progress.step(f"making the base image {image.repository}:{image.tags[0]}", image.expected):
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="strata-image-") as scratch:
            tree = Path(scratch, "tree")
            tree.mkdir(mode=0o755)
            image.fill(tree)
            unfinished = target.with_name(f".{target.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            layout.write(unfinished, tree, image.config, architecture(), image.tags[0])
        os.replace(unfinished, target)
    return target


def architecture() -> str:
    """The machine's architecture as images name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def code(module: ModuleType) -> str:
    """The code of a module without comments, docstrings and layout, so that tidying it makes no image anew."""
    whole = ast.parse(inspect.getsource(module))
    for node in ast.walk(whole):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(whole)


def is_text(part: ast.AST) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


def digest(file: Path) -> str:
    """The sha256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
