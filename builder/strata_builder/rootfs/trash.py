"""Folders that nobody needs any more, removed while work goes on."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from contextlib import suppress
from pathlib import Path

from strata_builder.layers import folders


class Trash:
    """Removes what is thrown into it, in a thread of its own; `folder` has to be on the file system of all of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def throw(self, path: Path) -> None:
        """Takes `path` away at once; it is removed later. One that is not there is fine."""
        name = str(next(self._numbers))
        with suppress(FileNotFoundError):
            path.rename(self._folder / name)
            self._queue.put(name)
            self._start()

    def close(self) -> None:
        """Waits until all is removed."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError):
            self._folder.rmdir()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trash", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            # What cannot be removed stays in the scratch folder, which goes as a whole when the build ends.
            with suppress(OSError), folders.Folders(self._folder) as tree:
                tree.remove(os.fsencode(name))
