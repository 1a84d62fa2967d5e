"""What is kept between builds on this machine: blobs of bases and of steps, the records that name them, layers that steps saw
unpacked, cache mounts.

It lies below $STRATA_CACHE_DIR, else $XDG_CACHE_HOME/strata-build, else ~/.cache/strata-build; deleting it costs time only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from strata_builder import contents, errors
from strata_builder.context.validators import Stored
from strata_builder.engine import records
from strata_builder.engine.records import Record
from strata_builder.frozen import replace
from strata_builder.layers import folders

if TYPE_CHECKING:
    from strata_builder.layers.index import Index
    from strata_builder.oci.image import LayerRef

MAX_AGE_DAYS = 14
MAX_BYTES = 10 << 30


def folder(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("STRATA_CACHE_DIR"):
        return Path(chosen)
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/root") / ".cache"
    return Path(base) / "strata-build"


class Store:
    """Opened by any number of builds at once; a build only adds, and pruning spares what is younger than a day."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for part in (self.blobs, self.mounts, root / "scratch"):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise errors.InfrastructureFailed(
                f"cannot use {root}: {e.strerror}", hint="set STRATA_CACHE_DIR to a folder that you can write"
            ) from e

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def digests(self) -> Path:
        """Of the files of contexts (`context.remembered`)."""
        return self.root / "digests"

    @property
    def layers(self) -> Path:
        """Unpacked (`rootfs.kept`)."""
        return self.root / "layers"

    @property
    def mounts(self) -> Path:
        return self.root / "mounts"

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of one build on the same file system as the blobs, removed at its end. Those go, too, that builds have
        left which were killed."""
        places = self.root / "scratch"
        with self._lock(), contextlib.ExitStack() as left:
            for path in places.iterdir():
                if (held := _held(path)) is not None:
                    left.callback(_remove, path, held)
            mine = Path(tempfile.mkdtemp(prefix="build-", dir=places))
            holding = _held(mine)
            later = left.pop_all()
        try:
            later.close()
            yield mine
        finally:
            _remove(mine, holding)

    def records(self) -> records.Records:
        """Those whose layers are still here, and whole; none of a file that is damaged."""
        try:
            known = records.Records.from_bytes((self.root / "records.json").read_bytes())
        except (FileNotFoundError, errors.LayerError):
            return records.Records()
        there = {k: r for k, r in known.steps.items() if r.layer is None or self._has(r.layer)}
        return replace(known, steps=there)

    def keep(self, used: Mapping[str, Record], remotes: Mapping[str, Stored]) -> None:
        """Add a build's records, drop old ones, and the blobs that no record and no recent build needs."""
        today = int(time.time()) // 86400
        made = records.Records(records.used_today(used.items(), today), remotes=remotes)
        with self._lock():
            merged = self.records().merged(made)
            kept = merged.trimmed(today=today, max_age=MAX_AGE_DAYS, max_size=MAX_BYTES)
            fresh = self.root / f".records.{os.getpid()}"
            fresh.write_bytes(kept.to_bytes())
            fresh.rename(self.root / "records.json")
            self._forget_contexts()
            self._prune({layer.descriptor.digest.removeprefix("sha256:") for layer in kept.layers()})

    def find(self, layer: str) -> Index | None:
        """The table of contents of a layer, if one was kept here; a damaged one, or one of another version, goes."""
        from strata_builder.layers import indexfile

        place = self._table(layer)
        try:
            return indexfile.decode(place.read_bytes())
        except FileNotFoundError:
            return None
        except errors.LayerError:
            place.unlink(missing_ok=True)
            return None

    def keep_contents(self, found: Mapping[str, Index]) -> None:
        from strata_builder.layers import indexfile

        for layer, table in found.items():
            place = self._table(layer)
            if not place.exists():
                fresh = place.with_name(f".{place.name}.{os.getpid()}")
                fresh.write_bytes(indexfile.encoded(table))
                fresh.rename(place)

    def _table(self, layer: str) -> Path:
        return self.blobs / f"{layer.removeprefix('sha256:')}.index"

    def _has(self, layer: LayerRef) -> bool:
        return contents.has_all(self.blobs / layer.descriptor.digest.removeprefix("sha256:"), layer.descriptor.size)

    def _forget_contexts(self) -> None:
        oldest = time.time() - MAX_AGE_DAYS * 86400
        for mtime, _, path in _files(self.digests):
            if mtime < oldest:
                path.unlink(missing_ok=True)

    def _prune(self, needed: set[str]) -> None:
        found = sorted(_files(self.blobs))
        total = sum(size for _, size, _ in found)
        for mtime, size, path in found:
            if total <= MAX_BYTES or time.time() - mtime < 86400:
                return
            if path.name not in needed:
                path.unlink(missing_ok=True)
                total -= size

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, and its size. Meanwhile other builds may give a file its name, or remove one."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            yield found.st_mtime, found.st_size, path


def _held(folder: Path) -> int | None:
    """A descriptor that tells others that `folder` is in use, until it is closed: flock(2). None where somebody else has
    one, or none can be had."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
        else:
            return fd
    return None


def _remove(folder: Path, held: int | None) -> None:
    """What cannot be removed now, such as a mount point of a step that still ends, is tried again by the next build."""
    with contextlib.suppress(RecursionError):  # which is for `Folders`: a tree may be as deep as its maker likes
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError), folders.Folders(folder.parent) as tree:
        tree.remove(os.fsencode(folder.name))
    if held is not None:
        os.close(held)
