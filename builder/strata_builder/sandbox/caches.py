"""RUN's cache mounts: folders that outlive a build, shared as the Dockerfile says. Those of one id with another owner or
mode are others, as for BuildKit: who asks for a folder of its own can write to it."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.sandbox import trees
from strata_builder.sandbox.command import MountSpec

_TICK: Final = 0.1


def name(mount: MountSpec) -> str:
    """All that tells one cache from another."""
    return f"{mount.uid}:{mount.gid}:{mount.mode:o}:{mount.id}"


class Caches:
    """The caches below `folder`, safe for several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held(self, mount: MountSpec, *, deadline: float | None, cancel: threading.Event) -> Iterator[Path]:
        """The folder of `mount`, made and filled if it is new. `locked` waits until nobody else uses it; `private`
        takes another folder of the same id rather than wait.

        Raises DeadlineExceeded at `deadline` (time.monotonic), Cancelled."""
        for number in itertools.count():
            place = self._place(mount, number)
            place.mkdir(parents=True, exist_ok=True)
            lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _locked(lock, mount, deadline, cancel):
                    continue
                _prepare(place, mount, deadline, cancel)
                yield place / "data"
                return
            finally:
                os.close(lock)

    def _place(self, mount: MountSpec, number: int) -> Path:
        digest = hashlib.sha256(name(mount).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._folder / (f"{digest}-{number}" if number else digest)


def _locked(lock: int, mount: MountSpec, deadline: float | None, cancel: threading.Event) -> bool:
    """False if a private cache is in use."""
    if mount.sharing == "private":
        return _is_taken(lock, fcntl.LOCK_EX)
    _wait(lock, fcntl.LOCK_SH if mount.sharing == "shared" else fcntl.LOCK_EX, mount, deadline, cancel)
    return True


def _is_taken(lock: int, how: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        return True
    return False


def _wait(lock: int, how: int, mount: MountSpec, deadline: float | None, cancel: threading.Event) -> None:
    while not _is_taken(lock, how):
        if deadline is not None and time.monotonic() >= deadline:
            raise errors.DeadlineExceeded(f"the build's time was up while it waited for the cache {mount.id!r}")
        if cancel.wait(_TICK):
            raise errors.Cancelled(f"the build was cancelled while it waited for the cache {mount.id!r}")


def _prepare(place: Path, mount: MountSpec, deadline: float | None, cancel: threading.Event) -> None:
    """Of those who share a new cache one makes it: rename(2) would put a folder in the place of an empty one that is
    in use."""
    if (place / "data").exists():
        return
    lock = os.open(place / "making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait(lock, fcntl.LOCK_EX, mount, deadline, cancel)
        if not (place / "data").exists():
            _make(place, mount)
    finally:
        os.close(lock)


def _make(place: Path, mount: MountSpec) -> None:
    """Under another name at first: one that was cut short does not count. One that is filled has the owner and mode of
    what fills it."""
    new = place / "new"
    trees.remove(new)
    if mount.source is not None:
        trees.copy(mount.source, new)
    else:
        new.mkdir()
        os.chown(new, mount.uid, mount.gid)
        new.chmod(mount.mode)
    new.rename(place / "data")
