"""An archive's entries as files in a folder, as any user: no owners, no devices, of the extended attributes those that
users may set, and no path that leads outside or through a link."""

from __future__ import annotations

import os
import stat
from typing import Final

from strata_builder import errors
from strata_builder.context import limits, places
from strata_builder.entries import Entry, Kind, Readable
from strata_builder.layers import folders, paths

_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUFFER: Final = 1 << 20
#: Seconds that every file system can keep.
_TIMES: Final = (-(2**31), 2**33)


class Writer:
    """Writes entries in the archive's order below an empty folder; `finish` ends it. Modes and times are the archive's,
    but the owner may always read; links keep their text. Raises LayerError for what cannot be written faithfully,
    InvalidSpec once it is more than `budget`."""

    def __init__(self, below: folders.Folders, budget: limits.Budget) -> None:
        self._below = below
        self._budget = budget
        self._buffer = memoryview(bytearray(_BUFFER))
        self._folders: dict[bytes, Entry] = {}

    def write(self, entry: Entry, content: Readable) -> None:
        self._budget.entry()
        self._budget.take(entry.size)
        if entry.kind == Kind.DIR:
            self._make_folders(entry.path, entry)
            self._folders[entry.path] = entry
            return
        parent, name = paths.split(entry.path)
        self._make_folders(parent, entry)
        self._clear(entry)
        folder = self._below.fd(parent)
        if entry.kind == Kind.FILE:
            self._file(folder, name, entry, content)
        elif entry.kind == Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=folder)
            os.utime(name, (0, _time(entry)), dir_fd=folder, follow_symlinks=False)
        elif entry.kind == Kind.HARDLINK:
            self._link(entry)
        elif entry.kind == Kind.FIFO:
            os.mkfifo(name, entry.mode | 0o400, dir_fd=folder)
        else:
            raise errors.LayerError(f"{paths.show(entry.path)} is a device, which a build context cannot hold")

    def finish(self) -> None:
        """Modes and times of directories come last: what is put into one changes its time, and may need its mode."""
        for path, entry in sorted(self._folders.items(), reverse=True):
            folder = self._below.fd(path)
            _set_attributes(folder, entry)
            os.fchmod(folder, entry.mode | 0o700)
            os.utime(folder, (0, _time(entry)))

    def _make_folders(self, path: bytes, entry: Entry) -> None:
        for folder in (*paths.parents(path), *([path] if path else [])):
            try:
                status = self._below.stat(folder)
            except FileNotFoundError:
                parent, name = paths.split(folder)
                os.mkdir(name, places.MODE, dir_fd=self._below.fd(parent))
                os.fchmod(self._below.fd(folder), places.MODE)  # whatever the umask is
                continue
            if not stat.S_ISDIR(status.st_mode):
                raise errors.LayerError(
                    f"the archive has {paths.show(entry.path)} below {paths.show(folder)}, which is no directory in it"
                )

    def _clear(self, entry: Entry) -> None:
        """A later entry of the same name replaces the earlier one, unless that is a directory."""
        parent, name = paths.split(entry.path)
        try:
            status = self._below.stat(entry.path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            raise errors.LayerError(
                f"the archive has {paths.show(entry.path)} both as a directory and as something else"
            )
        os.unlink(name, dir_fd=self._below.fd(parent))

    def _file(self, folder: int, name: bytes, entry: Entry, content: Readable) -> None:
        descriptor = os.open(name, _FILE, 0o600, dir_fd=folder)
        with open(descriptor, "wb", buffering=0) as file:
            while count := content.readinto(self._buffer):
                piece = self._buffer[:count]
                while piece:
                    piece = piece[os.write(descriptor, piece) :]
            _set_attributes(descriptor, entry)
            os.fchmod(file.fileno(), entry.mode | 0o400)
            os.utime(file.fileno(), (0, _time(entry)))

    def _link(self, entry: Entry) -> None:
        parent, name = paths.split(entry.path)
        target_parent, target = paths.split(entry.link)
        try:
            source = os.dup(self._below.fd(target_parent))
        except (FileNotFoundError, NotADirectoryError):
            source = -1
        try:
            os.link(target, name, src_dir_fd=source, dst_dir_fd=self._below.fd(parent), follow_symlinks=False)
        except OSError as e:
            raise errors.LayerError(
                f"{paths.show(entry.path)} is a hard link to {paths.show(entry.link)}, which cannot be linked to"
            ) from e
        finally:
            if source >= 0:
                os.close(source)


def _set_attributes(descriptor: int, entry: Entry) -> None:
    for name, value in entry.xattrs:
        if not name.startswith(b"user."):
            continue
        try:
            os.setxattr(descriptor, name, value)
        except OSError as e:
            raise errors.LayerError(
                f"{paths.show(entry.path)} has the extended attribute {paths.show(name)}, which cannot be kept here:"
                f" {e.strerror}",
                hint="unpack where the file system has such attributes, or make the archive without them",
            ) from e


def _time(entry: Entry) -> int:
    return min(max(entry.mtime, _TIMES[0]), _TIMES[1])
