"""How to start another interpreter like this one, wherever it lies and however it was started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import strata_builder


def command(module: str, *arguments: str) -> list[str]:
    """The argv that runs `main()` of `module` in a fresh interpreter, isolated from the environment."""
    place = str(Path(strata_builder.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {place!r}); import {module} as m; m.main()"
    return [*_interpreter(), "-I", "-S", "-c", code, *arguments]


def environment() -> dict[str, str]:
    """What such an interpreter needs of the environment."""
    return {name: os.environ[name] for name in ("PYTHONHOME",) if name in os.environ}


def _interpreter() -> list[str]:
    """The program itself; or, where it was started through a dynamic loader, that one with its arguments."""
    with Path("/proc/self/cmdline").open("rb") as file:
        words = [os.fsdecode(word) for word in file.read().split(b"\0")]
    if Path("/proc/self/exe").readlink().name.startswith("ld-") and sys.executable in words[1:]:
        return words[: words.index(sys.executable) + 1]
    return [sys.executable]
