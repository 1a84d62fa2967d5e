"""How much memory an entry of a COPY takes, from the context to the packed layer and its index."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from strata_builder.context import folder
from support import engine_build
from support.apart import apart

ALLOWED = 400  # bytes an entry, with its name of 20 bytes
FEW, MANY = 4000, 8000  # both more than what is packed with a single block


def test_an_entry_takes_few_bytes_however_many_there_are(tmp_path: Path) -> None:
    few, many = (_least(tmp_path, count) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) <= ALLOWED


def _least(folder: Path, count: int) -> int:
    """Of three builds: how many blocks the threads of one hold at once is chance."""
    return apart(lambda: min(_build(folder / f"{count}-{number}", count) for number in range(3)))


def _build(root: Path, count: int) -> int:
    """The most bytes that were in use while a context of so many files was hashed, placed and packed."""
    for number in range(count):
        path = root / "tree" / f"{number // 500:04}" / f"file-{number % 500:05}"
        if number % 500 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        engine_build.Engine(root / "cache").run("FROM scratch\nCOPY tree /tree", folder.FolderTree(root))
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
