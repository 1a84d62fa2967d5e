"""The engine's file systems to run steps in, one class a rung of isolation."""

from __future__ import annotations

import abc
import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from strata_builder import errors
from strata_builder.frozen import replace
from strata_builder.layers import diff, index
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import inplace, kept, lowers, overlay, view
from strata_builder.sandbox import borrowed, caches, command, hostfiles, launcher, privileges, trees, userns
from strata_builder.sandbox import inplace as inplace_run
from strata_builder.sandbox.request import Request


class _Stage(Protocol):
    """What both kinds of stage can do (see `rootfs.overlay`, `rootfs.inplace`)."""

    def sync(self, layers: Sequence[LayerRef], fresh: Collection[str] = ()) -> None: ...
    def changes(self, lower: view.View, *, clamp: int | None) -> diff.Changes: ...
    def commit(self, layer: LayerRef | None) -> None: ...


StageT = TypeVar("StageT", bound=_Stage)


class _Root(abc.ABC, Generic[StageT]):
    """An `engine.roots.Root`: its stage, and the caches that its steps mount."""

    def __init__(self, stage: StageT, kept: caches.Caches) -> None:
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
        """Waits for the caches and runs `wanted`, both within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with ExitStack() as held:
            mounts = tuple(_with_caches(self._shared(wanted.mounts), self._caches, held, deadline, cancel))
            return self._run(replace(wanted, mounts=mounts), held, output, deadline, cancel)

    def _shared(self, mounts: Sequence[command.MountSpec]) -> Sequence[command.MountSpec]:
        """`mounts` with the sharing that this rung can give."""
        return mounts

    @abc.abstractmethod
    def _run(
        self,
        wanted: command.Command,
        held: ExitStack,
        output: Callable[[bytes], None],
        deadline: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        """Runs `wanted`, its caches at hand, until `deadline` (time.monotonic); `held` undoes what it needs."""

    def changes(self, lower: view.View, *, clamp: int | None) -> diff.Changes:
        return self._stage.changes(lower, clamp=clamp)

    def commit(self, layer: LayerRef | None) -> None:
        self._stage.commit(layer)


class UserNSRoots:
    """Stages side by side, each an overlay whose steps run in namespaces of their own (see `userns`).

    `scratch` has to be on a file system that can be an overlay's upper one (no overlay itself), `cache_folder` is where
    cache mounts are kept, `learn` hears the index of each layer that is unpacked, `store` keeps them for later builds; `steps`
    run at once at most.
    `close` removes what is in scratch.
    """

    exclusive = False

    def __init__(
        self,
        scratch: Path,
        blobs: lowers.Blobs,
        cache_folder: Path,
        *,
        learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None,
        store: kept.Kept | None = None,
        steps: int = launcher.MAX_STEPS,
    ) -> None:
        self._lowers = lowers.Lowers(scratch, blobs, learn, store)
        self._cache_folder = cache_folder
        self._launcher = launcher.Launcher(steps)

    def open(self) -> UserNSRoot:
        self._launcher.start()  # a step follows; meanwhile its layers are unpacked
        return UserNSRoot(overlay.Stage(self._lowers), caches.Caches(self._cache_folder), self._launcher)

    def show(self, layers: Sequence[LayerRef]) -> AbstractContextManager[Path]:
        return overlay.shown(self._lowers, layers)

    def caches(self) -> Path:
        return self._cache_folder

    def close(self) -> None:
        self._launcher.close()
        self._lowers.close()


class UserNSRoot(_Root[overlay.Stage]):
    def __init__(self, stage: overlay.Stage, kept: caches.Caches, starter: launcher.Launcher) -> None:
        super().__init__(stage, kept)
        self._launcher = starter

    def _run(
        self,
        wanted: command.Command,
        held: ExitStack,  # noqa: ARG002  whatever a mount needs is the mount namespace's
        output: Callable[[bytes], None],
        deadline: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        files = hostfiles.seen_by_steps(wanted.hostname)
        request = Request(self._stage.begin(), self._stage.root, wanted, files)
        ran = userns.run(self._launcher, request, output=output, deadline=deadline, cancel=cancel)
        self._stage.forget(ran.made)
        return ran.outcome

    def close(self) -> None:
        self._stage.close()


class InPlaceRoots:
    """The container's own root directory, for one stage after another; see `sandbox.inplace`.

    `scratch` and `cache_folder` have to be below a mount point or `/.strata`, where no step's changes are looked for.
    """

    exclusive = True

    def __init__(
        self,
        scratch: Path,
        blobs: lowers.Blobs,
        cache_folder: Path,
        *,
        root: Path = Path("/"),
        learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None,
    ) -> None:
        privileges.hide_memory()
        os.umask(0o022)  # mount points and working directories are made by this process
        self._scratch, self._blobs, self._cache_folder = scratch, blobs, cache_folder
        self._stage = inplace.Stage(root, blobs, learn=learn)
        self._numbers = itertools.count()
        scratch.mkdir(parents=True, exist_ok=True)

    def open(self) -> InPlaceRoot:
        return InPlaceRoot(self._stage, caches.Caches(self._cache_folder))

    @contextmanager
    def show(self, layers: Sequence[LayerRef]) -> Iterator[Path]:
        folder = self._scratch / f"shown-{next(self._numbers)}"
        try:
            inplace.unpacked(folder, self._blobs, layers)
            yield folder
        finally:
            trees.remove(folder)

    def caches(self) -> Path:
        return self._cache_folder

    def close(self) -> None:
        """The root stays as the last step left it: the container ends with the builder."""


class InPlaceRoot(_Root[inplace.Stage]):
    """Mounts are contents put in place for the step, so binds can be written to; a cache is used by one step at a time,
    whatever its sharing. `run` raises NotSupported for network "none"."""

    def _shared(self, mounts: Sequence[command.MountSpec]) -> Sequence[command.MountSpec]:
        return [replace(mount, sharing="locked") if mount.sharing == "shared" else mount for mount in mounts]

    def _run(
        self,
        wanted: command.Command,
        held: ExitStack,
        output: Callable[[bytes], None],
        deadline: float | None,
        cancel: threading.Event,
    ) -> command.Outcome:
        held.enter_context(borrowed.placed(self._stage.root, wanted.mounts))
        _make_directory(self._stage.root, wanted.cwd)
        self._stage.settle()
        return inplace_run.run(wanted, output=output, timeout=_left(deadline), cancel=cancel)

    def close(self) -> None:
        """Nothing to do: the next stage's `sync` removes what this one left."""


def _left(deadline: float | None) -> float | None:
    """Seconds until `deadline` (time.monotonic)."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _make_directory(root: Path, path: bytes) -> None:
    place = root / os.fsdecode(path.lstrip(b"/"))
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.DockerfileError(
            f"the working directory {os.fsdecode(path)} cannot be entered: {error.strerror}",
            hint="let WORKDIR name a directory",
        ) from error


def _with_caches(
    mounts: Sequence[command.MountSpec],
    kept: caches.Caches,
    held: ExitStack,
    deadline: float | None,
    cancel: threading.Event,
) -> Iterator[command.MountSpec]:
    """The mounts with their caches' folders as sources. Caches are taken in order, so that two steps that lock the
    same two cannot wait for each other for ever; one that is mounted twice is taken once."""
    places: dict[str, Path] = {}
    for spec in sorted((m for m in mounts if m.kind == "cache"), key=caches.name):
        if caches.name(spec) not in places:
            places[caches.name(spec)] = held.enter_context(kept.held(spec, deadline=deadline, cancel=cancel))
    for spec in mounts:
        yield replace(spec, source=places[caches.name(spec)]) if spec.kind == "cache" else spec
