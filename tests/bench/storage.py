"""The registry of the benchmark: its storage on a tmpfs of its own, which can go back to what it was."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bench import scratch
from support.registry_process import RegistryProcess


class BenchRegistry(RegistryProcess):
    """`mark` what is there, then `reset` forgets what came after: a builder finds nothing that another one, or an
    earlier round, has left. distribution keeps nothing of its storage in memory, so both work while it runs."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self._stack = contextlib.ExitStack()
        self._kept: set[Path] = set()

    def __enter__(self) -> Self:
        self._stack.enter_context(scratch.mounted(self.folder / "storage"))
        try:
            return super().__enter__()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop(kill=True)
        self._stack.close()
        super().__exit__(*error)

    @property
    def access_log(self) -> Path:
        return self.folder / "log"

    def used(self) -> int:
        """Bytes that its storage takes."""
        return scratch.used(self.folder / "storage")

    def mark(self) -> None:
        """What is there now stays."""
        self._kept = {*self._blobs(), *self._repositories()}

    def reset(self) -> None:
        """Removes the blobs and the repositories (by their first word) that came since `mark`."""
        for folder in {*self._blobs(), *self._repositories()} - self._kept:
            shutil.rmtree(folder)

    def _blobs(self) -> Iterator[Path]:
        return self.storage.glob("blobs/sha256/*/*")

    def _repositories(self) -> Iterator[Path]:
        return self.storage.glob("repositories/*")
