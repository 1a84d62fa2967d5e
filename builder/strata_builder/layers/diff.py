"""What a step changed: the difference between the merged view below it and what is on disk now.

One rule for an overlay's upper directory and for a full walk: a path is changed if its type, mode, owner, seconds of
mtime, content, extended attributes or link differ, whatever happened to it in between. A directory's mtime alone is no
change. What is missing gets one whiteout at its topmost path. The directories above a change come along with their true
metadata.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from strata_builder import contents, errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import folders, items, paths, recorded, walk

Changes = tuple[items.Items, list[bytes]]
"""What is to be packed, and the paths of lower layers to hide, these in the order of a walk."""

OPAQUE_XATTRS: Final = ("user.overlay.opaque", "trusted.overlay.opaque")
#: Left by overlay mounts with redirect_dir or metacopy on: the upper directory alone does not tell the content then.
_UNREADABLE: Final = frozenset(
    f"{prefix}.overlay.{name}".encode() for prefix in ("user", "trusted") for name in ("redirect", "metacopy")
)
_CHUNK: Final = 1 << 20


class LowerView(Protocol):
    """The merged file system below the step.

    `lookup` is an lstat: None for what is not there; a FILE has its digest, a hard link is a FILE. `children` are the
    names in a directory. b"" is the root; where `lookup` does not know it, it is not compared.
    """

    def lookup(self, path: bytes, /) -> Entry | None: ...
    def children(self, path: bytes, /) -> Iterable[bytes]: ...


def diff_upper(
    upper: Path,
    lower: LowerView,
    *,
    opaque_xattrs: Iterable[str] = OPAQUE_XATTRS,
    skip: Callable[[bytes], bool] = lambda _: False,
    clamp_mtime: int | None = None,
    unset: Iterable[recorded.Skipped] = (),
) -> Changes:
    """The change set that the upper directory of an overlay mount holds over `lower`, in time that goes with its size.

    `skip` names paths that are neither changed nor missing, with all below them. `clamp_mtime` lowers later times to
    that second in the layer. `unset` is what unpacking had to leave out: it is taken as still there. The items open
    files below `upper`, which has to stay as it is until they are packed. The mount must have been made with
    redirect_dir=off and metacopy=off. Raises LayerError.
    """
    differ = _Differ(
        upper, lower, skip, clamp_mtime, {}, frozenset(map(os.fsencode, opaque_xattrs)), recorded.by_path(unset)
    )
    return differ.run(complete=False)


def diff_walk(
    root: Path,
    lower: LowerView,
    *,
    skip: Callable[[bytes], bool] = lambda _: False,
    clamp_mtime: int | None = None,
    known: Mapping[tuple[int, int], str] | None = None,
    unset: Iterable[recorded.Skipped] = (),
    on_linked: Callable[[bytes], None] = lambda _: None,
) -> Changes:
    """The change set of a whole tree over `lower`, by walking it.

    `known` maps (inode, ctime in ns) to the digest that a file's content had then: such files are not read again.
    `on_linked` hears each path of a regular file that has several names. The rest is as for `diff_upper`.
    """
    differ = _Differ(root, lower, skip, clamp_mtime, known or {}, frozenset(), recorded.by_path(unset), on_linked)
    return differ.run(complete=True)


class _Folder:
    """A directory being compared; `complete` if what is not on disk is gone (full walk, opaque directory)."""

    __slots__ = ("changed", "complete", "entry", "lower", "path", "todo")

    def __init__(self, path: bytes, entry: Entry | None, lower: Entry | None, *, complete: bool, changed: bool) -> None:
        self.path = path
        self.entry = entry
        self.lower = lower
        self.complete = complete
        self.changed = changed
        self.todo: list[bytes] = []


class _Differ:
    def __init__(
        self,
        root: Path,
        lower: LowerView,
        skip: Callable[[bytes], bool],
        clamp: int | None,
        known: Mapping[tuple[int, int], str],
        opaque: frozenset[bytes],
        unset: Mapping[bytes, Collection[str]],
        on_linked: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._tree = folders.Folders(root)
        self._lower = lower
        self._skip = skip
        self._clamp = clamp
        self._known = known
        self._opaque = opaque
        self._unset = unset
        self._on_linked = on_linked
        self._overlay = bool(opaque)
        self._items = items.Items()
        self._origin = self._items.origin(items.Origin(self._tree.open, b"", b""))
        self._whiteouts: list[bytes] = []
        self._links: dict[tuple[int, int], bytes] = {}
        self._digests: dict[tuple[int, int], str] = {}

    def run(self, *, complete: bool) -> Changes:
        """Depth first without recursion: a step may nest directories deeper than any stack."""
        above = [self._enter(b"", self._tree.stat(b""), None, complete=complete)]
        while above:
            folder = above[-1]
            if not folder.todo:
                self._leave(above.pop(), above)
                continue
            below = self._compare(paths.join(folder.path, folder.todo.pop()), folder)
            if below is not None:
                above.append(below)
        self._whiteouts.sort(key=paths.order)
        return self._items, self._whiteouts

    def _enter(self, path: bytes, found: os.stat_result, above: _Folder | None, *, complete: bool) -> _Folder:
        lower = self._below(path, above)
        held = self._tree.attributes(path)
        entry = self._entry(path, found, lower, held)
        complete = complete or self._is_opaque(path, held)
        changed = entry is not None and (path != b"" or lower is not None) and not self._same(entry, lower, found)
        folder = _Folder(path, entry, lower, complete=complete, changed=changed)
        self._look_inside(folder)
        return folder

    def _below(self, path: bytes, above: _Folder | None) -> Entry | None:
        """What the view has there: nothing in what is no directory there."""
        if above is not None and above.path and (above.lower is None or above.lower.kind is not Kind.DIR):
            return None
        return self._lower.lookup(path)

    def _entry(self, path: bytes, found: os.stat_result, lower: Entry | None, held: Collection[bytes]) -> Entry | None:
        entry = walk.entry_of(self._tree, path, found, held)
        if entry is None or lower is None or path not in self._unset:
            return entry
        return recorded.completed(entry, lower, self._unset[path])

    def _is_opaque(self, path: bytes, held: Collection[bytes]) -> bool:
        if not self._overlay:
            return False
        _refuse_partial(path, held)
        handle = self._tree.handle(path)
        return any(os.getxattr(handle, name, follow_symlinks=False) == b"y" for name in held if name in self._opaque)

    def _look_inside(self, folder: _Folder) -> None:
        """Fills `todo`, and notes what is missing."""
        present = [name for name, _ in walk.names(self._tree, folder.path)]
        folder.todo = [name for name in reversed(present) if not self._skip(paths.join(folder.path, name))]
        was_folder = not folder.path if folder.lower is None else folder.lower.kind is Kind.DIR
        if folder.complete and was_folder:
            for name in set(self._lower.children(folder.path)) - set(present):
                self._missing(paths.join(folder.path, name), folder)

    def _missing(self, path: bytes, folder: _Folder) -> None:
        if self._skip(path) or recorded.DEVICE in self._unset.get(path, ()):
            return
        if self._lower.lookup(path) is not None:
            self._whiteouts.append(path)
            folder.changed = folder.changed or bool(folder.path)

    def _leave(self, folder: _Folder, above: list[_Folder]) -> None:
        """A directory is written if it changed itself or if anything below it did."""
        if not folder.changed or folder.entry is None:
            return
        self._items.put_from(self._clamped(folder.entry), self._origin)
        if len(above) > 1:
            above[-1].changed = True

    def _compare(self, path: bytes, folder: _Folder) -> _Folder | None:
        """Notes `path` if it changed; a directory is returned to be looked into."""
        found = self._tree.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return self._enter(path, found, folder, complete=folder.complete)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            self._on_linked(path)
        is_whiteout = self._overlay and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
        lower = self._below(path, folder)
        held = () if is_whiteout else self._tree.attributes(path)
        entry = None if is_whiteout else self._entry(path, found, lower, held)
        if entry is None:
            self._missing(path, folder)
            return None
        if held and self._overlay and stat.S_ISREG(found.st_mode):
            _refuse_partial(path, held)
        if not self._same(entry, lower, found):
            self._items.put_from(self._written(entry, found), self._origin)
            folder.changed = folder.changed or bool(folder.path)
        return None

    def _written(self, entry: Entry, found: os.stat_result) -> Entry:
        """As it is in the layer: a further name of a file that is in the change set already is a hard link to it."""
        entry = self._clamped(entry)
        inode = (found.st_dev, found.st_ino)
        if found.st_nlink > 1:
            first = self._links.setdefault(inode, entry.path)
            if first != entry.path:
                return entry._replace(kind=Kind.HARDLINK, link=first, size=0, major=0, minor=0, xattrs=())
        if entry.kind is Kind.FILE and inode in self._digests:
            return entry._replace(digest=self._digests[inode])
        return entry

    def _same(self, entry: Entry, lower: Entry | None, found: os.stat_result) -> bool:
        if lower is None or _shape(entry) != _shape(lower):
            return False
        if entry.kind is Kind.DIR:
            return True
        # A time lowered in the layer is still the real one on a disk that kept the step's files.
        if lower.mtime not in (entry.mtime, self._clamped(entry).mtime):
            return False
        return entry.kind is not Kind.FILE or self._digest(entry.path, found) == lower.digest

    def _digest(self, path: bytes, found: os.stat_result) -> str:
        known = self._known.get((found.st_ino, found.st_ctime_ns))
        if known is not None:
            return known
        inode = (found.st_dev, found.st_ino)
        if inode not in self._digests:
            self._digests[inode] = self._read(path)
        return self._digests[inode]

    def _read(self, path: bytes) -> str:
        digest, buffer = contents.hasher(), memoryview(bytearray(_CHUNK))
        with self._tree.open(path) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
        return digest.hexdigest()

    def _clamped(self, entry: Entry) -> Entry:
        if self._clamp is None or entry.mtime <= self._clamp:
            return entry
        return entry._replace(mtime=self._clamp)


def _shape(entry: Entry) -> tuple[object, ...]:
    """Everything that is compared but time and content."""
    return (
        entry.kind,
        0 if entry.kind is Kind.SYMLINK else entry.mode,  # Linux has none for them; tars do
        entry.uid,
        entry.gid,
        entry.size,
        entry.link,
        entry.major,
        entry.minor,
        entry.xattrs,
    )


def _refuse_partial(path: bytes, held: Collection[bytes]) -> None:
    for name in _UNREADABLE.intersection(held):
        raise errors.LayerError(
            f"{paths.show(path)} in the upper directory carries {name.decode()}: its content is elsewhere",
            hint="mount the overlay with redirect_dir=off,metacopy=off",
        )
