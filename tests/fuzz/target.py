"""What is fuzzed: a function of bytes from strangers that may end in two ways, a value or an error of our own type."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

from fuzz import mutation

#: Seconds of processor time that one input may take. Right code takes some milliseconds, so that only work which grows
#: faster than its input comes near.
PATIENCE: Final = 20
_LONGEST: Final = 24 << 10  # bytes of an error: message, excerpt of four lines, hint
MEMORY: Final = 1 << 30  # bytes that a run may need beyond what the process has before it
_STRETCHED: Final = 64 << 10  # bytes of an input that repeats one piece


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises whatever is a fault; what it may raise, it expects itself.

    `seeds` are inputs of the right kind, `pieces` what is put into them, `once` inputs that are tried as they are. `runs`
    is how many inputs `make test` tries.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    pieces: tuple[bytes, ...] = ()
    once: tuple[bytes, ...] = ()
    runs: int = 1000
    change: Callable[[Random, bytes, tuple[bytes, ...]], bytes] = mutation.changed
    stretched: int = _STRETCHED

    def __str__(self) -> str:
        return self.name


class TooSlow(Exception):
    """An input took PATIENCE seconds of processor time."""


class Unspoken(Exception):
    """An error of our own that does not say what it has to."""


def said(error: Exception, *hidden: str) -> None:
    """Raises Unspoken unless `error` can be shown to people: text that can be encoded, short, without what is hidden."""
    text = str(error)
    try:
        size = len(text.encode())
    except UnicodeError:
        raise Unspoken(f"cannot be encoded: {error!r:.300}") from error
    if not text or size > _LONGEST:
        raise Unspoken(f"has {size} bytes: {text[:200]!r}") from error
    if any(each in text for each in hidden):
        raise Unspoken(f"tells a secret: {text[:200]!r}") from error


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Within, this process can take only MEMORY bytes more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def execute(target: Target, data: bytes) -> None:
    """One run, ended by TooSlow where it does not end itself."""

    def late(_: int, __: FrameType | None) -> None:
        raise TooSlow(f"{len(data)} bytes took {PATIENCE} seconds")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        target.run(data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fault(target: Target, data: bytes) -> str:
    """What is wrong with how `target` takes `data`, "" if nothing is: the type and place of the exception."""
    try:
        execute(target, data)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what is looked for
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{type(error).__name__} in {_place()}: {error!s:.300}\n{notes}".rstrip()
    return ""


def _place() -> str:
    """The innermost line of ours that the exception passed."""
    trace, found = sys.exc_info()[2], ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "strata_" in name or "/fuzz/" in name:
            found = f"{Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
