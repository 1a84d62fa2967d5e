"""Runs `strata build` as people do and reads back the image that it wrote, with Python's own tar reader."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import validate_image

NOTHING: Mapping[str, str] = {}
BUILDER = Path(__file__).parents[2] / "builder"


@dataclass(frozen=True)
class File:
    """What one layer says of one path: `text` as `ls` would put it, and the content of a file."""

    text: str
    content: bytes
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    time: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Image:
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: list[dict[str, File]]
    diff_ids: list[str]
    sizes: dict[str, int]
    log: str

    @property
    def own(self) -> list[dict[str, File]]:
        """The layers above the base image's."""
        return self.layers[1:]

    @property
    def env(self) -> dict[str, str]:
        return dict(item.partition("=")[::2] for item in self.config["config"]["Env"])

    def files(self) -> dict[str, File]:
        """The image's files, the layers laid over one another."""
        shown: dict[str, File] = {}
        for layer in self.layers:
            for path in layer:
                folder, _, name = path.rpartition("/")
                if name == ".wh..wh..opq":
                    _forget(shown, folder, itself=False)
                elif name.startswith(".wh."):
                    _forget(shown, f"{folder}/{name[4:]}".lstrip("/"), itself=True)
            shown |= {path: file for path, file in layer.items() if ".wh." not in path}
        return shown

    def read(self, path: str) -> str:
        files = self.files()
        file = files[path]
        if file.text.startswith("h "):
            file = files[file.text.partition(" -> ")[2]]
        return file.content.decode()

    def listed(self, *prefixes: str) -> list[str]:
        """The paths at and below `prefixes`, in the notation of `File.text`; without prefixes, what the base lacks."""
        base = self.layers[0] if self.layers and "bin/busybox" in self.layers[0] else {}
        below = {path: file for path, file in self.files().items() if path and base.get(path) != file}
        return [f.text for p, f in sorted(below.items()) if not prefixes or _is_below(p, prefixes)]


@dataclass
class Builder:
    """`folder` holds the contexts, the cache and the images; `base` is a layout called testbase; `named` are further
    contexts."""

    folder: Path
    base: Path
    count: int = 0
    named: Mapping[str, str] = field(default_factory=dict)

    def context(self, files: Mapping[str, str | bytes], dockerfile: str | bytes = b"") -> Path:
        """A fresh folder with `files`: "name/" is a directory, "name -> target" a link, "0600 name" has that mode."""
        self.count += 1
        root = self.folder / f"context-{self.count}"
        root.mkdir()
        for name, content in files.items():
            _write(root, name, content)
        if dockerfile:
            (root / "Dockerfile").write_bytes(_bytes(dockerfile))
        return root

    def run(
        self,
        context: Path | str,
        *flags: str,
        umask: int = 0o022,
        command: str = "build",
        env: Mapping[str, str] = NOTHING,
        through: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """`through` is a program that runs the command line given to it."""
        contexts = {"testbase": f"oci-layout://{self.base}", **self.named}
        named = [word for name, value in contexts.items() for word in ("--build-context", f"{name}={value}")]
        argv = [*through, sys.executable, "-m", "strata_builder.cli", command, *named, *flags, str(context)]
        environment = {**os.environ, "PYTHONPATH": str(BUILDER), "STRATA_CACHE_DIR": str(self.folder / "cache"), **env}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, umask=umask)

    def build(self, context: Path | str, *flags: str, umask: int = 0o022, env: Mapping[str, str] = NOTHING) -> Image:
        self.count += 1
        archive = self.folder / f"image-{self.count}.tar"
        ended = self.run(context, "-o", f"type=oci,dest={archive}", *flags, umask=umask, env=env)
        assert ended.returncode == 0, ended.stderr
        return _read(archive, ended.stderr)

    def make(self, dockerfile: str | bytes, files: Mapping[str, str | bytes] | None = None, *flags: str) -> Image:
        return self.build(self.context(files or {}, dockerfile), *flags)

    def fault(self, dockerfile: str | bytes, files: Mapping[str, str | bytes] | None = None, *flags: str) -> str:
        """What a build that must fail says on standard error."""
        ended = self.run(self.context(files or {}, dockerfile), "-o", "type=oci,dest=/dev/null", *flags)
        assert ended.returncode != 0, "the build succeeded"
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.stderr


def _write(root: Path, name: str, content: str | bytes) -> None:
    mode, space, rest = name.partition(" ")
    name, mode = (rest, mode) if space and mode.isdigit() and len(mode) == 4 else (name, "")
    link, arrow, target = name.partition(" -> ")
    path = root / link
    path.parent.mkdir(parents=True, exist_ok=True)
    if arrow:
        path.symlink_to(target)
        return
    if name.endswith("/"):
        path.mkdir(exist_ok=True)
    else:
        path.write_bytes(_bytes(content))
    path.chmod(int(mode, 8) if mode else 0o755 if name.endswith("/") else 0o644)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _read(archive: Path, log: str) -> Image:
    with tarfile.open(archive) as tar:
        blobs = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    index = json.loads(blobs["index.json"])
    digest = index["manifests"][0]["digest"]
    contents = {f"sha256:{name[13:]}": content for name, content in blobs.items() if name.startswith("blobs/sha256/")}
    assert validate_image.problems(contents, digest) == []
    manifest = json.loads(_blob(blobs, digest))
    config = json.loads(_blob(blobs, manifest["config"]["digest"]))
    unpacked = [_unpacked(_blob(blobs, layer["digest"])) for layer in manifest["layers"]]
    layers = [_layer(content) for content in unpacked]
    diff_ids = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in unpacked]
    sizes = {name: len(content) for name, content in contents.items()}
    return Image(digest, manifest, config, layers, diff_ids, sizes, log)


def _blob(blobs: Mapping[str, bytes], digest: str) -> bytes:
    content = blobs["blobs/" + digest.replace(":", "/")]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def _unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _layer(content: bytes) -> dict[str, File]:
    found: dict[str, File] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            assert member.name not in found, f"{member.name} is twice in one layer"
            reader = tar.extractfile(member) if member.isreg() else None
            found[_path(member)] = File(
                _text(member), reader.read() if reader else b"", _xattrs(member), int(member.mtime)
            )
    return found


def _xattrs(member: tarfile.TarInfo) -> dict[str, bytes]:
    prefix = "SCHILY.xattr."
    headers = member.pax_headers.items()
    return {name[len(prefix) :]: os.fsencode(value) for name, value in headers if name.startswith(prefix)}


def _path(member: tarfile.TarInfo) -> str:
    return "" if member.name == "." else member.name.rstrip("/")


def _text(member: tarfile.TarInfo) -> str:
    if member.issym():
        return f"l {member.name} -> {member.linkname}"
    if member.islnk():
        return f"h {member.name} -> {member.linkname}"
    kind = "d" if member.isdir() else "f"
    return f"{kind} {member.mode:04o} {member.uid}:{member.gid} {_path(member)}"


def _forget(shown: dict[str, File], folder: str, *, itself: bool) -> None:
    for path in [p for p in shown if p.startswith(f"{folder}/") or (itself and p == folder) or not folder]:
        del shown[path]


def _is_below(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)
