"""`python -m bench.files`: processor time for each small file of a layer that is unpacked, compared and packed.

Beside it what the kernel and Python's `os` take for the system calls that cannot be done without, in a loop that does
nothing else: nothing can be quicker than that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import builders
from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.layers import diff, halves, index, pack
from strata_builder.rootfs.view import View

CONTENT = b"not much\n"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Case:
    """So many files in folders of 500, as a packed layer."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.paths = [b"d%d/f%d" % (number // 500, number) for number in range(count)]
        source = folder / "source"
        for number in range(0, count, 500):
            (source / f"d{number // 500}").mkdir(parents=True)
        for path in self.paths:
            (source / os.fsdecode(path)).write_bytes(CONTENT)

        def opener(path: bytes) -> Callable[[], Readable]:
            return lambda: (source / os.fsdecode(path)).open("rb", buffering=0)

        entries = [Item(Entry(path, Kind.FILE, 0o644, size=len(CONTENT)), opener(path)) for path in self.paths]
        folders = {path.rpartition(b"/")[0] for path in self.paths}
        made = pack.pack([*(Item(Entry(path, Kind.DIR, 0o755)) for path in folders), *entries], blob=folder / "blob")
        assert made is not None
        self.layer, self.upper = made, source

    def unpacked(self, to: Path, known: index.Index | None = None) -> None:
        with self.layer.blob.open("rb", buffering=0) as blob:
            wanted = halves.Wanted(self.layer.media_type, self.layer.diff_id, known)
            halves.finish(halves.from_blob(blob, wanted, to), to, View().lookup)

    def bare(self, to: Path) -> None:
        """openat, write, utimensat, close."""
        for path in sorted({path.rpartition(b"/")[0] for path in self.paths}):
            (to / os.fsdecode(path)).mkdir()
        place = os.open(to, os.O_RDONLY)
        for path in self.paths:
            fd = os.open(path, _NEW, 0o644, dir_fd=place)
            os.write(fd, CONTENT)
            os.utime(fd, ns=(0, 0))
            os.close(fd)
        os.close(place)

    def compared(self, to: Path) -> None:
        changes = diff.diff_upper(self.upper, View())
        assert len(changes[0]) > self.count, f"{to}: not all of it was found"

    def packed(self, to: Path) -> None:
        items, gone = diff.diff_upper(self.upper, View())
        pack.pack(items, gone, blob=to / "blob", threads=1)


def measured(count: int, rounds: int) -> dict[str, float]:
    """Microseconds of processor time a file: medians, each case in turn in every round."""
    with tempfile.TemporaryDirectory(dir=builders.SCRATCH) as folder:
        case = Case(Path(folder), count)
        ways: dict[str, Callable[[Path], None]] = {
            "unpack": case.unpacked,
            "unpack, its index known": lambda to: case.unpacked(to, known=case.layer.index),
            "the system calls alone": case.bare,
            "find what a RUN changed": case.compared,
            "find and pack it": case.packed,
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(_taken(way, Path(folder) / "to") / count * 1e6)
        return {name: statistics.median(times) for name, times in found.items()}


def _taken(way: Callable[[Path], None], to: Path) -> float:
    to.mkdir()
    before = time.process_time()
    way(to)
    taken = time.process_time() - before
    shutil.rmtree(to)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.files", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5, help="medians are of so many (default: 5)")
    asked = parser.parse_args()
    for name, micros in measured(asked.files, asked.rounds).items():
        print(f"{name:<26}{micros:8.1f} us a file")


if __name__ == "__main__":
    main()
