"""A part of a test in a process of its own: what is measured there belongs to no other test's threads."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """What `work` gives (pickled) in a fork of this process, of whose threads only the caller's goes on there.

    Raises AssertionError with its traceback where it failed.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _tell(theirs, work)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        told = answer.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the process apart ended with wait status {status}: {told.decode(errors='replace')}"
    return pickle.loads(told)  # type: ignore[no-any-return]


def _tell(to: int, work: Callable[[], T]) -> None:
    code = 1
    try:
        with os.fdopen(to, "wb") as answer:
            try:
                answer.write(pickle.dumps(work()))
                code = 0
            except BaseException:  # noqa: BLE001  told to the test
                answer.write(traceback.format_exc().encode())
    finally:
        os._exit(code)
