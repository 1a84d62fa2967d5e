"""One at a time: locks between processes, which the kernel drops with their holder, also after kill -9."""

import contextlib
import fcntl
from collections.abc import Iterator

from cluster import folders, progress


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """Holds the lock of that name, waiting for whoever has it; says so when it must wait."""
    folder = folders.cache() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another process that holds the lock {name!r}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
