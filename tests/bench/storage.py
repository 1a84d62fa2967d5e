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
        self._kept = {*self._blobs(), *self._links()}

    def reset(self) -> None:
        """Removes the blobs that came since `mark`, and all that names them, also beside images that stay."""
        for path in sorted({*self._blobs(), *self._links()} - self._kept, reverse=True):  # what is below a folder first
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _blobs(self) -> Iterator[Path]:
        return self.storage.glob("blobs/sha256/*/*")

    def _links(self) -> Iterator[Path]:
        """Repositories with their manifests, tags and links to blobs."""
        return self.storage.glob("repositories/**/*")
