"""Work in a thread of its own, whose failure is raised to whoever waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Beside(threading.Thread, Generic[_T]):
    """Begins at once."""

    def __init__(self, work: Callable[[], _T]) -> None:
        super().__init__(name="beside", daemon=True)
        self._work = work
        self._found: list[_T] = []
        self._failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as e:  # noqa: BLE001  raised by `result`
            self._failure = e

    def result(self) -> _T:
        """Waits for it. Raises what it raised."""
        self.join()
        if self._failure is not None:
            raise self._failure
        return self._found[0]


@contextlib.contextmanager
def ended() -> Iterator[list[Beside[Any]]]:
    """At the end all that were put into the list are waited for, unless it is the user who ends it. Raises the first failure,
    that of the context before others."""
    begun: list[Beside[Any]] = []
    try:
        yield begun
    except Exception:
        for each in begun:
            each.join()
        raise
    for each in begun:
        each.join()
    for each in begun:
        each.result()
