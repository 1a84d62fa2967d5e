"""What a step runs, and how it ended, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from strata_builder.frozen import frozen

#: The name of the machine that a step sees, and what its hosts file says, in every rung.
HOSTNAME: Final = "buildkitsandbox"

Kind = Literal["bind", "cache", "tmpfs", "secret", "ssh"]


@frozen
class MountSpec:
    """Something shown at `target` (absolute, in the image) while one step runs, and in no layer.

    bind    `source` (a file or folder of this machine, taken as it stands); unless `readonly` the step may write to it
    cache   the folder that is kept under `id`; `source`, if any, is what it holds at first; `uid`, `gid` and `mode` are
            those of a new one; `sharing` is shared, private or locked
    tmpfs   an empty folder in memory of at most `size` bytes (0: no limit of its own)
    secret  a file with `content`, in memory only
    ssh     `source` is the socket of an agent
    """

    kind: Kind
    target: bytes
    source: Path | None = None
    content: bytes | None = None
    readonly: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o755
    size: int = 0
    id: str = ""
    sharing: str = "shared"


@frozen
class Command:
    """A program with its arguments, whole environment, directory (made if missing) and identity. `network` is "default"
    (the builder's own) or "none" (a loopback interface only). `stdin` None is /dev/null."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: bytes = b"/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    network: str = "default"
    mounts: tuple[MountSpec, ...] = ()
    hostname: str = HOSTNAME
    stdin: bytes | None = None


@frozen
class Outcome:
    """`exit_code` is the command's own, 128 + n if signal n ended it. `oom`: the kernel killed something of this
    container for want of memory while the step ran, and the step failed."""

    exit_code: int
    signal: int = 0
    oom: bool = False


def outcome(status: int, *, killed: bool = False) -> Outcome:
    """`status` as subprocess has it: minus n for signal n."""
    return Outcome(128 - status if status < 0 else status, max(0, -status), killed and status != 0)


def in_order(mounts: tuple[MountSpec, ...]) -> list[MountSpec]:
    """Those nearer to the root first, so that none hides another."""
    return sorted(mounts, key=lambda mount: len([part for part in mount.target.split(b"/") if part]))
