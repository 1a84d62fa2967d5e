"""Files between the containers of a pod: written whole, asked for by name, waited for while the other is there."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from strata_builder import errors
from strata_builder.pod import alive

T = TypeVar("T")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_POLL: Final = 0.03  # seconds between two looks; what is waited for takes far longer
_LOOK_AFTER_PEERS: Final = 0.5


def publish(path: Path, data: bytes = b"") -> None:
    """`data` as the file `path`, readable for all, there only when whole."""
    partial = path.with_name(f".partial-{os.urandom(8).hex()}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def wait(
    ready: Callable[[], T | None],
    peers: Sequence[alive.Peer],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """What `ready` gives once it is not None. Raises PeerLost if one of `peers` is gone before that."""
    look = clock()
    while (found := ready()) is None:
        if clock() >= look:
            look = clock() + _LOOK_AFTER_PEERS
            for peer in peers:
                try:
                    peer.check()
                except alive.PeerLost:
                    if (last := ready()) is not None:  # it may have left what we wait for just before it ended
                        return last
                    raise
        sleep(_POLL)
    return found


def there(path: Path) -> Path | None:
    """For `wait`: the path itself once it exists."""
    return path if path.exists() else None


def read(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes that another container left; never through a link. Raises PeerLost."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except OSError as e:
        raise alive.PeerLost(f"cannot read {path.name}, which another container left: {e.strerror}") from e
    if len(data) > limit:
        raise alive.PeerLost(f"{path.name}, which another container left, is larger than {limit} bytes")
    return data


def names(folder: Path, seen: Collection[str]) -> Iterator[str]:
    """Names of blobs (64 hex digits) in a folder of another container's, those of `seen` left out; other names, and
    whatever else a hostile writer puts there, are passed over."""
    try:
        found = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    yield from (name for name in found if name not in seen and _HEX.fullmatch(name))


class Requests:
    """Asks fetch for blobs: a file of the digest's name in `asked`, the blob then appears in `brought`."""

    def __init__(self, asked: Path, brought: Path, fetch: alive.Peer) -> None:
        self._asked = asked
        self._brought = brought
        self._fetch = fetch
        asked.mkdir(parents=True, exist_ok=True)

    def ask(self, digest: str) -> None:
        name = digest.removeprefix("sha256:")
        if not (self._brought / name).exists():
            (self._asked / name).touch()

    def bring(self, digest: str) -> Path:
        """The blob, once fetch has it. Raises PeerLost."""
        self.ask(digest)
        name = digest.removeprefix("sha256:")
        refused = self._brought / f"{name}.refused"

        def ready() -> Path | None:
            if refused.exists():
                raise errors.InfrastructureFailed(
                    f"fetch could not bring the layer {digest}: {refused.read_text()[:500]}"
                )
            return there(self._brought / name)

        return wait(ready, [self._fetch])
