"""The engine's file systems to run steps in, one class a rung of isolation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from strata_builder.layers import diff, index
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import overlay, view
from strata_builder.sandbox import caches, command, userns

HOSTS: Final = (
    b"127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    b"fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


class UserNSRoots:
    """Stages side by side, each an overlay whose steps run in namespaces of their own (see `userns`).

    `scratch` has to be on a file system that can be an overlay's upper one (no overlay itself), `cache_folder` is where
    cache mounts are kept, `learn` hears the index of each layer that is unpacked. `close` removes what is in scratch.
    """

    exclusive = False

    def __init__(
        self,
        scratch: Path,
        blobs: overlay.Blobs,
        cache_folder: Path,
        *,
        learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None,
    ) -> None:
        self._lowers = overlay.Lowers(scratch, blobs, learn)
        self._cache_folder = cache_folder

    def open(self) -> UserNSRoot:
        return UserNSRoot(overlay.Stage(self._lowers), caches.Caches(self._cache_folder))

    def show(self, layers: Sequence[LayerRef]) -> AbstractContextManager[Path]:
        return overlay.shown(self._lowers, layers)

    def caches(self) -> Path:
        return self._cache_folder

    def close(self) -> None:
        self._lowers.close()


class UserNSRoot:
    def __init__(self, stage: overlay.Stage, kept: caches.Caches) -> None:
        self._stage, self._caches = stage, kept

    def sync(self, layers: Sequence[LayerRef], *, fresh: Collection[str] = ()) -> None:
        """`fresh` are the digests of layers that COPY or ADD made: their files get the present time."""
        self._stage.sync(layers, fresh)

    def run(
        self,
        wanted: command.Command,
        *,
        output: Callable[[bytes], None],
        timeout: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        deadline = None if timeout is None else time.monotonic() + timeout
        with ExitStack() as held:
            mounts = tuple(_with_caches(wanted.mounts, self._caches, held, deadline, cancel))
            ran = userns.run(
                self._stage.begin(),
                self._stage.root,
                replace(wanted, mounts=mounts),
                output=output,
                timeout=None if deadline is None else max(0.0, deadline - time.monotonic()),
                cancel=cancel,
                files=files_of(wanted.hostname),
            )
        self._stage.forget(ran.made)
        return ran.outcome

    def changes(self, lower: view.View, *, clamp: int | None) -> diff.Changes:
        return self._stage.changes(lower, clamp=clamp)

    def commit(self, layer: LayerRef | None) -> None:
        self._stage.commit(layer)

    def close(self) -> None:
        self._stage.close()


def files_of(hostname: str) -> dict[str, bytes]:
    """The files of the machine that a step sees in copy: names without a leading slash."""
    resolver = Path("/etc/resolv.conf")
    return {
        "etc/hosts": HOSTS,
        "etc/hostname": hostname.encode() + b"\n",
        "etc/resolv.conf": resolver.read_bytes() if resolver.exists() else b"",
    }


def _with_caches(
    mounts: Sequence[command.MountSpec],
    kept: caches.Caches,
    held: ExitStack,
    deadline: float | None,
    cancel: threading.Event,
) -> Iterator[command.MountSpec]:
    """The mounts with their caches' folders as sources. Ids are taken in order, so that two steps that lock the
    same two cannot wait for each other for ever; one that is mounted twice is taken once."""
    places: dict[str, Path] = {}
    for spec in sorted((m for m in mounts if m.kind == "cache"), key=lambda m: m.id):
        if spec.id not in places:
            places[spec.id] = held.enter_context(kept.held(spec, deadline=deadline, cancel=cancel))
    for spec in mounts:
        yield replace(spec, source=places[spec.id]) if spec.kind == "cache" else spec
