"""File systems in which nothing runs: a step "writes" one file that tells all that a program could have seen.

So an image says of each RUN what it was run with, and one that was taken from a cache wrongly differs from one made anew.
Secrets, agents, proxies and what is in caches are left out: they are no part of what a step is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from strata_builder.engine import blobs
from strata_builder.engine.options import PROXY_ARGS
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import unpack
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs.view import View
from strata_builder.sandbox import command

FILE = "ran"


class FakeRoots:
    """Of an `engine_build.Engine` in the same folder."""

    exclusive = False

    def __init__(self, folder: Path) -> None:
        self.blobs, self.scratch = blobs.Blobs(folder / "blobs", blobs.Nowhere()), folder

    def open(self) -> FakeRoot:
        return FakeRoot()

    @contextlib.contextmanager
    def show(self, layers: Sequence[LayerRef]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            for layer in layers:
                with self.blobs.open(layer) as blob:
                    owner = unpack.OwnerPolicy.IGNORE
                    unpack.unpack_to(blob, layer.descriptor.media_type, Path(name), overlay=False, owner=owner)
            yield Path(name)

    def caches(self) -> Path:
        return self.scratch / "caches"


class FakeRoot:
    _seen = ""

    def sync(self, layers: Sequence[LayerRef], *, fresh: Collection[str] = ()) -> None:
        """Nothing has to be there."""

    def run(
        self,
        wanted: command.Command,
        *,
        output: Callable[[bytes], None],
        timeout: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        identity = (wanted.cwd, wanted.uid, wanted.gid, wanted.groups, wanted.network, wanted.hostname, wanted.stdin)
        mounts = [_mount(mount) for mount in wanted.mounts if _is_seen(mount)]
        env = sorted(item for item in wanted.env.items() if item[0] not in PROXY_ARGS)
        self._seen = repr((wanted.argv, env, identity, mounts))
        return command.Outcome(0)

    def changes(self, lower: View, *, clamp: int | None) -> tuple[list[Item], list[bytes]]:
        content = f"{self._seen}\n{_digest(sorted(_below(lower)))}\n".encode()
        entry = Entry(os.fsencode(FILE), Kind.FILE, 0o644, size=len(content), mtime=1_000_000_000)
        return [Item(entry, lambda: io.BytesIO(content))], []

    def commit(self, layer: LayerRef | None) -> None:
        """Nothing has to be remembered."""

    def close(self) -> None:
        """Nothing is held."""


def _is_seen(mount: command.MountSpec) -> bool:
    """A secret may be there or not; a script is brought in the same way."""
    return mount.kind not in ("secret", "ssh") or mount.target.startswith(b"/dev/pipes/")


def _mount(mount: command.MountSpec) -> tuple[object, ...]:
    source = _tree(mount.source) if mount.kind in ("bind", "cache") and mount.source else None
    owner = (mount.uid, mount.gid, mount.mode, mount.size, mount.id, mount.sharing)
    return mount.kind, mount.target, source, mount.content, mount.readonly, owner


def _tree(source: Path) -> str:
    paths = sorted(source.rglob("*")) if source.is_dir() else []
    return _digest([_path(path, path.relative_to(source).as_posix()) for path in paths] or [_path(source, "")])


def _path(path: Path, name: str) -> str:
    if path.is_symlink():
        return f"{name} -> {path.readlink()}"
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return f"{name} {path.stat().st_mode:o} {content}"


def _below(view: View, folder: bytes = b"") -> Iterator[str]:
    for name in view.children(folder):
        path = folder + b"/" + name if folder else name
        entry = view.lookup(path)
        if entry is not None:
            yield repr((entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.link, entry.digest))
            if entry.kind is Kind.DIR:
                yield from _below(view, path)


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
