"""Several things at once, whose failures are raised to whoever began them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from strata_builder.pod.ahead import Ahead

_T = TypeVar("_T")


def begun(work: Callable[[], _T]) -> Ahead[_T]:
    """`work` in a thread of its own, at once."""
    found = Ahead(work, "beside")
    found.start()
    return found


@contextlib.contextmanager
def ended() -> Iterator[list[Ahead[Any]]]:
    """At the end all that were put into the list are waited for, unless it is the user who ends it. Raises the first failure,
    that of the context before others."""
    found: list[Ahead[Any]] = []
    try:
        yield found
    except Exception:
        for each in found:
            each.wait()
        raise
    for each in found:
        each.wait()
    for each in found:
        each.result()
