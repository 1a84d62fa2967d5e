"""The end of a layer that has been written: what it hides goes, then each directory, from the deepest up, gets owner, mode,
attributes and time.

Only here is it asked what the layers below hold, so their entries and those of this one can be written side by side.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from strata_builder.entries import Entry, Kind
from strata_builder.layers import index, paths
from strata_builder.layers.ownership import Ownership
from strata_builder.layers.places import Places
from strata_builder.layers.restore import Options, times_of


def settle(places: Places, contents: index.Index, options: Options, ownership: Ownership) -> None:
    """Ends the layer `contents`, whose entries lie in `places`. Raises LayerError, OSError."""
    _Settling(places, contents, options, ownership).run()


class _Settling:
    def __init__(self, places: Places, contents: index.Index, options: Options, ownership: Ownership) -> None:
        self._places, self._folders = places, places.folders
        self._contents, self._options, self._ownership = contents, options, ownership
        self._hidden = frozenset((*contents.whiteouts, *contents.opaque))

    def run(self) -> None:
        gone = frozenset(self._contents.whiteouts)
        for path in self._contents.whiteouts:
            if not self._lies_hidden(path):
                self._hide(path)
        for folder in self._contents.opaque:
            if not self._lies_hidden(folder) and folder not in gone:
                self._hide_below(folder)
        for path in sorted(self._unspoken(), key=paths.order, reverse=True):
            self._settle_unspoken(path)
        for entry in reversed([*self._contents.of_kind(Kind.DIR)]):
            if not self._options.skip(entry.path):
                self._settle(entry)

    def _lies_hidden(self, path: bytes) -> bool:
        """Whether the layer hides a directory above, or its content: nothing of the lower layers is there to be hidden."""
        return bool(path) and any(folder in self._hidden for folder in (b"", *paths.parents(path)))

    # -- what the layer hides

    def _hide(self, path: bytes) -> None:
        known = self._contents.lookup(path)
        if self._is_nowhere(path):
            return  # in a directory that no lower layer has, an overlay would show the device
        if not self._options.overlay:
            self._places.remember_time(paths.split(path)[0])
            self._folders.remove(path, self._stays)
        elif known is None and not self._contents.has_below(path):
            self._places.make(path, lambda name, fd: os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=fd))
        elif known is None or known.kind is Kind.DIR:
            self._mark_opaque(path)

    def _hide_below(self, folder: bytes) -> None:
        if self._is_nowhere(folder):
            return
        if self._options.overlay:
            self._places.imply(folder, folder)
            self._mark_opaque(folder)
            return
        self._places.remember_time(folder)
        with suppress(FileNotFoundError, NotADirectoryError):
            for name, _ in self._folders.names(folder):
                self._folders.remove(paths.join(folder, name), self._stays)

    def _is_nowhere(self, path: bytes) -> bool:
        return self._options.lower is not None and self._options.lower(path) is None

    def _stays(self, path: bytes) -> bool:
        return path in self._contents or self._options.skip(path) or self._contents.has_below(path)

    def _mark_opaque(self, folder: bytes) -> None:
        os.setxattr(self._folders.fd(folder), self._options.opaque_xattr, b"y")

    # -- directories

    def _unspoken(self) -> Iterator[bytes]:
        return (path for path in self._places.implied | self._places.times.keys() if path not in self._contents)

    def _settle_unspoken(self, path: bytes) -> None:
        """Directories that the layer does not hold: the lower layers' metadata if made here, else their old time.

        One that is there only because the layer put something into it after having it hidden is new.
        """
        hidden = self._contents.hides(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            if not hidden and path not in self._places.implied:
                time = self._places.times[path]
                os.utime(self._folders.fd(path), ns=(time, time))
                return
            lower = self._options.lower(path) if self._options.lower and not hidden else None
            if lower is None or lower.kind is not Kind.DIR:
                lower = Entry(path=path, kind=Kind.DIR, mode=0o755)
            self._settle(lower)

    def _settle(self, entry: Entry) -> None:
        fd = self._folders.fd(entry.path)
        self._drop_attributes(entry, fd)
        self._ownership.owner_and_mode(entry, fd)
        self._ownership.attributes(entry, fd)
        os.utime(fd, ns=times_of(entry))
        if self._options.on_entry is not None:
            self._options.on_entry(entry, os.fstat(fd))

    def _drop_attributes(self, entry: Entry, fd: int) -> None:
        """Those that a lower layer gave the directory: a layer's word on a directory is all of it."""
        if self._options.overlay:
            return
        for name in {*_attributes_of(fd)} - {key for key, _ in entry.xattrs}:
            if not paths.is_foreign_xattr(name):
                self._ownership.attribute(entry.path, name, functools.partial(os.removexattr, fd, name))


def _attributes_of(fd: int) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []
