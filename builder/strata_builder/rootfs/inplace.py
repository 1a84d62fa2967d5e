"""A container's own root directory as the stage's file system: layers written over it, changes found by walking it.

What the runtime mounted into the container, and the builder's own place, are neither touched nor recorded.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import blame, diff, folders, index, paths, recorded, unpack
from strata_builder.layers.items import Items
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import hardlinks, placed
from strata_builder.rootfs.lowers import Blobs, LazyView
from strata_builder.rootfs.view import View

#: Where the builder lives, and where it puts aside what stands at a step's mount points.
OWN: Final = b".strata"
ASIDE: Final = b".strata.aside"
#: More than one tick of any kernel's clock of file times (10 ms at most).
_TICK: Final = 0.02


def mount_points(root: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> frozenset[bytes]:
    """The mount points below `root`, relative to it: proc_pid_mountinfo(5)."""
    prefix = os.fsencode(root).rstrip(b"/") + b"/"
    found = set()
    for line in mountinfo.read_bytes().splitlines():
        point = _unescaped(line.split(b" ")[4])
        if point.startswith(prefix) and point != prefix:
            found.add(point[len(prefix) :].rstrip(b"/"))
    return frozenset(found)


def _unescaped(field: bytes) -> bytes:
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field


class Kept:
    """The paths that are not the image's: `kept(path)` tells of each whether it, or a directory above, is one."""

    def __init__(self, points: Collection[bytes]) -> None:
        self._points = frozenset(points)
        self.above = frozenset(folder for point in self._points for folder in paths.parents(point))

    def __call__(self, path: bytes) -> bool:
        return path in self._points or any(folder in self._points for folder in paths.parents(path))


class Stage:
    """`root` as the file system of one stage at a time. Used by one thread at a time."""

    def __init__(
        self,
        root: Path,
        blobs: Blobs,
        *,
        points: Collection[bytes] | None = None,
        learn: Callable[[LayerRef, index.Index], None] = lambda _, __: None,
    ) -> None:
        found = mount_points(root) if points is None else points
        self.root, self._blobs, self._learn = root, blobs, learn
        self.kept = Kept({*found, OWN, ASIDE})
        self._layers: list[LayerRef] = []
        self._times: dict[int, int] = {}
        self._known: dict[tuple[int, int], str] = {}
        self._unset: list[recorded.Skipped] = []
        self._linked: list[bytes] = []
        self._empty = False

    def sync(self, layers: Sequence[LayerRef], fresh: Collection[str] = ()) -> None:
        """Makes the root what `layers` (the lowest first) are: those that are missing are added; where others are
        there, everything is removed first. Raises LayerError, StorageLimitExceeded, OSError."""
        if not self._empty or list(layers[: len(self._layers)]) != self._layers:
            self.wipe()
        for layer in layers[len(self._layers) :]:
            self._add(layer, now=layer.descriptor.digest in fresh)

    def wipe(self) -> None:
        """Removes all that is not kept; directories on the way to what is kept become plain ones."""
        if self.root == Path("/") and os.getpid() != 1:
            raise errors.NotSupported(
                "only the first process of a container may replace everything below its root directory",
                hint="use the isolation UserNS",
            )
        with folders.Folders(self.root) as tree:
            for folder in reversed(self._emptied(tree)):
                tree.forget(folder)
                parent, name = paths.split(folder)
                if folder not in self.kept.above:
                    os.rmdir(name, dir_fd=tree.fd(parent))
                    continue
                os.fchown(tree.fd(folder), 0, 0)
                os.fchmod(tree.fd(folder), 0o755)
        self._layers, self._empty = [], True
        for memory in (self._times, self._known, self._unset, self._linked):
            memory.clear()

    def _emptied(self, tree: folders.Folders) -> list[bytes]:
        """Unlinks all that is neither kept nor a directory; the directories that are left, parents first."""
        found: list[bytes] = []
        todo = [b""]
        while todo:
            folder = todo.pop()
            for name, is_folder in tree.names(folder):
                path = paths.join(folder, name)
                if self.kept(path):
                    continue
                if is_folder:
                    found.append(path)
                    todo.append(path)
                else:
                    os.unlink(name, dir_fd=tree.fd(folder))
        return sorted(found, key=paths.order)

    def settle(self) -> None:
        """To be called before a step: what it changes then has a later time than anything remembered."""
        time.sleep(_TICK)

    def changes(self, lower: View, *, clamp: int | None) -> diff.Changes:
        """What differs from `lower`, the view of the layers. The items open the files of the root. Raises LayerError."""
        self._linked.clear()
        found, gone = diff.diff_walk(
            self.root,
            placed.Dated(lower, self._times),
            skip=self.kept,
            clamp_mtime=clamp,
            known=self._known,
            unset=self._unset,
            on_linked=self._linked.append,
        )
        self._drop_stubs(found, lower)
        return found, gone

    def commit(self, layer: LayerRef | None) -> None:
        """The changes are `layer` now; None: there were none. What the step linked is apart from here on."""
        with folders.Folders(self.root) as tree:
            for path in self._linked:
                hardlinks.part(tree, path)
            if layer is not None:
                self._layers.append(layer)
                for entry in self._blobs.view([layer]).index(0):
                    self._remember(tree, entry)

    def _add(self, layer: LayerRef, *, now: bool) -> None:
        with self._blobs.open(layer) as blob, blame.layer(layer.descriptor.digest):
            contents = unpack.unpack_to(
                blob,
                layer.descriptor.media_type,
                self.root,
                overlay=False,
                owner=unpack.OwnerPolicy.RECORD,
                skipped=self._unset,
                copy_links=True,
                lower=LazyView(self._blobs, tuple(self._layers)).lookup,
                skip=self.kept,
                on_entry=self._written,
                diff_id=layer.diff_id,
            )
        self._learn(layer, contents)
        if now:
            self._touch(contents)
        self._layers.append(layer)

    def _written(self, entry: Entry, found: os.stat_result) -> None:
        if entry.digest:
            self._known[found.st_ino, found.st_ctime_ns] = entry.digest

    def _touch(self, contents: index.Index) -> None:
        now = time.time_ns()
        with folders.Folders(self.root) as tree:
            for entry in contents:
                if entry.path and not self.kept(entry.path):
                    parent, name = paths.split(entry.path)
                    with suppress(FileNotFoundError):
                        os.utime(name, ns=(now, now), dir_fd=tree.fd(parent), follow_symlinks=False)
                    self._remember(tree, entry)
        self._times[len(self._layers)] = now // 10**9

    def _remember(self, tree: folders.Folders, entry: Entry) -> None:
        if entry.digest and not self.kept(entry.path):
            found = tree.stat(entry.path)
            if stat.S_ISREG(found.st_mode):
                self._known[found.st_ino, found.st_ctime_ns] = entry.digest

    def _drop_stubs(self, found: Items, lower: View) -> None:
        """Directories that are there only because something was mounted in them are no change."""
        stubs = {path for path in self.kept.above if found.kind(path) is Kind.DIR and lower.lookup(path) is None}
        if stubs:
            used = {folder for path in found.paths() if path not in stubs for folder in paths.parents(path)}
            for path in stubs - used:
                found.pop(path)


def unpacked(folder: Path, blobs: Blobs, layers: Sequence[LayerRef]) -> None:
    """Makes the new directory `folder` what `layers` are, merged."""
    folder.mkdir()
    Stage(folder, blobs, points=()).sync(layers)
