"""RUN's mounts where nothing can be mounted: contents are put at their targets for one step.

What stood there is moved aside and back. What a step writes into a bind, a tmpfs or a read-only cache is thrown away,
what it writes into another cache is kept.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from strata_builder import errors
from strata_builder.layers import folders, paths
from strata_builder.rootfs import inplace, points
from strata_builder.sandbox import command, trees
from strata_builder.sandbox.targets import Targets


@contextmanager
def placed(root: Path, mounts: Sequence[command.MountSpec]) -> Iterator[None]:
    """Shows `mounts` below `root` while the context is open; caches have their folders as sources, which are moved in
    and back. Raises BuildError, OSError."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with ExitStack() as undo:
            targets = Targets(handle)
            undo.callback(targets.close)
            for number, spec in enumerate(command.in_order(tuple(mounts))):
                _Place(root, targets, spec, number).put(undo)
            yield
    finally:
        os.close(handle)


class _Place:
    def __init__(self, root: Path, targets: Targets, spec: command.MountSpec, number: int) -> None:
        self._root, self._targets, self._spec, self._number = root, targets, spec, number

    def put(self, undo: ExitStack) -> None:
        spec = self._spec
        known = len(self._targets.made)
        is_folder = spec.kind == "tmpfs" or (spec.source is not None and spec.source.is_dir())
        (self._targets.folder if is_folder else self._targets.file)(spec.target)
        made = self._targets.made[known:]
        real = self._targets.real(spec.target)
        undo.callback(points.forget, self._root, made)
        if real in made:
            self._removed(real)
            undo.callback(self._stub, real, is_folder)
        else:
            self._move_aside(real, undo)
        with points.same_time(self._root, real):
            self._fill(self._root / os.fsdecode(real), undo)

    def _fill(self, place: Path, undo: ExitStack) -> None:
        spec = self._spec
        if spec.kind == "cache" and spec.source is not None and not spec.readonly:
            if not spec.source.exists():
                raise errors.NotSupported(
                    f"the cache {spec.id!r} is mounted twice by one RUN, which isolation InPlace cannot do",
                    hint="mount it once, and link to it in the command",
                )
            trees.move(spec.source, place)
            undo.callback(self._give_back, place, spec.source)
            return
        undo.callback(self._removed, os.fsencode(place.relative_to(self._root)))
        if spec.kind == "tmpfs":
            place.mkdir()
            place.chmod(spec.mode)
        elif spec.content is not None:
            with open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(spec.content)
            os.chown(place, spec.uid, spec.gid)
            place.chmod(spec.mode)
        elif spec.kind == "ssh" and spec.source is not None:
            place.symlink_to(spec.source)
        elif spec.source is not None:
            trees.copy(spec.source, place)
        else:
            raise errors.InfrastructureFailed(f"the {spec.kind} mount at {paths.show(spec.target)} has no source")

    def _give_back(self, place: Path, folder: Path) -> None:
        with points.same_time(self._root, os.fsencode(place.relative_to(self._root))):
            if place.is_symlink() or not place.is_dir():  # the step removed it: the cache is empty
                self._removed(os.fsencode(place.relative_to(self._root)))
                folder.mkdir()
            else:
                trees.move(place, folder)

    def _removed(self, path: bytes) -> None:
        with points.same_time(self._root, path), folders.Folders(self._root) as tree:
            tree.remove(path)

    def _stub(self, path: bytes, is_folder: bool) -> None:
        """What was made as mount point stands there again, for `forget` to find."""
        place = self._root / os.fsdecode(path)
        with points.same_time(self._root, path), suppress(FileExistsError, FileNotFoundError, NotADirectoryError):
            place.mkdir() if is_folder else place.touch(exist_ok=False)

    def _move_aside(self, path: bytes, undo: ExitStack) -> None:
        place = self._root / os.fsdecode(path)
        aside = self._root / os.fsdecode(inplace.ASIDE) / str(self._number)
        with points.same_time(self._root, os.fsencode(aside.parent.name)):
            aside.parent.mkdir(mode=0o700, exist_ok=True)
        undo.callback(_without_error(aside.parent.rmdir))
        try:
            with points.same_time(self._root, path):
                place.rename(aside)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EBUSY):
                raise
            raise errors.NotSupported(
                f"nothing can be mounted at {paths.show(self._spec.target)} in isolation InPlace: the container's "
                "runtime has mounted something there",
                hint="choose another target, or the isolation UserNS",
            ) from error
        undo.callback(self._move_back, aside, place, path)

    def _move_back(self, aside: Path, place: Path, path: bytes) -> None:
        with points.same_time(self._root, path):
            aside.rename(place)


def _without_error(action: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        with suppress(OSError):
            action()

    return act
