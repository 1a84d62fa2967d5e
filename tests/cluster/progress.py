"""Progress on stderr, so that stdout stays free for what a command prints for other programs."""

import contextlib
import sys
import time
from collections.abc import Iterator


def say(text: str) -> None:
    """Prints one line about what is going on."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text: str, expected: str = "") -> Iterator[None]:
    """Says that something starts, how long it is expected to take, and how long it took."""
    say(f"{text} ..." + (f" ({expected})" if expected else ""))
    start = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - start:.1f} s")
