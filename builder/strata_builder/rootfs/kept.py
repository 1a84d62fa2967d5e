"""Unpacked layers that outlive a build, on a machine where one user builds again and again.

Each lies in a folder of its own below one that nobody else may enter, under a name that tells all that it depends on. It gets
its name when it is whole, and never changes again. Who uses it holds a lock on it (flock(2)), which ends with the process
however that ends; only what nobody holds is removed. Nothing waits for the disk: after a crash of the machine a folder may
hold files without their content, so what was made before its last start is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from strata_builder.frozen import frozen
from strata_builder.layers import folders
from strata_builder.layers.recorded import Skipped

#: Of how layers are unpacked. Who changes what an unpacked layer looks like counts it up.
_FORMAT: Final = 1
#: What gives owners of files their meaning, and one start of the machine its name: proc(5), user_namespaces(7), random(4).
_MAPS: Final = ("/proc/self/uid_map", "/proc/self/gid_map")
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_ROOT, _TOLD = "root", "told.json"
_UNFINISHED: Final = ".new-"


@frozen
class Found:
    """A layer's folder, and what of it could not be set."""

    path: Path
    unset: tuple[Skipped, ...]


@frozen
class _Told:
    size: int
    used: float
    unset: tuple[Skipped, ...]


class Kept(Protocol):
    """Safe for threads."""

    def find(self, key: str) -> Found | None:
        """What is kept under `key`. It stays until `close`."""
        ...

    def place(self) -> Path | None:
        """An empty folder for a layer that is to be kept; None where nothing is."""
        ...

    def keep(self, key: str, place: Path, unset: Sequence[Skipped], size: int) -> Path:
        """The layer in `place`, whole now, is `key`, and takes so many bytes. Returns where it is from now on."""
        ...


class Nothing:
    def find(self, key: str) -> Found | None:  # noqa: ARG002
        return None

    def place(self) -> Path | None:
        return None

    def keep(self, key: str, place: Path, unset: Sequence[Skipped], size: int) -> Path:  # noqa: ARG002
        return place


class Folder:
    """`folder` is made if it is not there. What is not this user's alone is neither used nor added to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[int] = []
        self._is_ours = False
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            self._boot = _BOOT.read_text().strip()
            self._kind = str(_FORMAT).encode() + b"".join(Path(name).read_bytes() for name in _MAPS)
            self._is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077

    def find(self, key: str) -> Found | None:
        path = self._folder / self._name(key)
        held = self._locked(path) if self._is_ours else None
        if held is None:
            return None
        told = self._told(path)
        if told is None:
            os.close(held)
            return None
        os.utime(path / _TOLD)
        self._held.append(held)
        return Found(path / _ROOT, told.unset)

    def place(self) -> Path | None:
        if not self._is_ours:
            return None
        made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        held = self._locked(made)
        if held is None:
            return None
        self._held.append(held)
        (made / _ROOT).mkdir(mode=0o755)
        return made / _ROOT

    def keep(self, key: str, place: Path, unset: Sequence[Skipped], size: int) -> Path:
        """Where another build was first, it stays as it is until this one ends."""
        left_out = [[os.fsdecode(each.path), each.what, each.why] for each in unset]
        told = {"boot": self._boot, "size": size, "unset": left_out}
        (place.parent / _TOLD).write_text(json.dumps(told))
        with contextlib.suppress(OSError):
            place.parent.rename(self._folder / self._name(key))
            return self._folder / self._name(key) / _ROOT
        return place

    def close(self) -> None:
        """Lets go of all."""
        while self._held:
            os.close(self._held.pop())

    def prune(self, most: int, days: int) -> None:
        """Removes what nobody holds: what a build left unfinished, what was not used for so many days, and then what was not
        used for longest, until no more than `most` bytes are left and a tenth of the disk is free."""
        every = sorted(self._every(), reverse=True)
        left = min(most, sum(size for _, size, _ in every) - self._wanting()) if every else 0
        for used, size, path in every:
            left -= size
            if left < 0 or time.time() - used > days * 86400:
                self._remove(path)

    def _wanting(self) -> int:
        """Bytes of the disk that should be free and are not; below 0 where there are more."""
        disk = shutil.disk_usage(self._folder)
        return disk.total // 10 - disk.free

    def _every(self) -> Iterator[tuple[float, int, Path]]:
        """When each was last used, its size, its folder; of what is of no use, that it was never used."""
        for path in self._folder.iterdir() if self._is_ours else ():
            told = None if path.name.startswith(_UNFINISHED) else self._told(path)
            yield (0.0, 0, path) if told is None else (told.used, told.size, path)

    def _told(self, path: Path) -> _Told | None:
        """None where it is damaged, or from before the machine's last start."""
        try:
            with (path / _TOLD).open("rb") as file:
                told, used = json.load(file), os.fstat(file.fileno()).st_mtime
            unset = tuple(Skipped(os.fsencode(name), str(what), str(why)) for name, what, why in told["unset"])
            return _Told(int(told["size"]), used, unset) if told["boot"] == self._boot else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            held = self._locked(path, fcntl.LOCK_EX)
            if held is None:
                return
            try:
                gone = path.with_name(f"{_UNFINISHED}{os.urandom(8).hex()}")  # whole or not at all for who comes now
                path.rename(gone)
                with folders.Folders(self._folder) as tree:
                    tree.remove(os.fsencode(gone.name))
            finally:
                os.close(held)

    def _locked(self, path: Path, how: int = fcntl.LOCK_SH) -> int | None:
        """A descriptor that holds it; None where it is not there (any more), or somebody removes or uses it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.lstat()):
                return fd
        os.close(fd)
        return None

    def _name(self, key: str) -> str:
        return hashlib.sha256(self._kind + key.encode()).hexdigest()
