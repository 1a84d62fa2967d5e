"""How much work a call is, told without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(work: Callable[[], object], package: str = "strata_builder") -> int:
    """How many lines of `package` run: every turn of a loop has at least one."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: local if package in frame.f_code.co_filename else None)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
