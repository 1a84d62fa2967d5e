"""What the builder asks of the process that becomes a step, and by which pipes. Pure.

As `marshal` writes it: both ends are one interpreter, and reading it is a tenth of the work that JSON is. That counts in
a process which runs everything for the first time, and only once.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from strata_builder.frozen import frozen
from strata_builder.rootfs.stack import Stack
from strata_builder.sandbox.command import Command, MountSpec

LENGTH: Final = 4


class Pipes(NamedTuple):
    """The server's ends of one step's pipes.

    `control` carries the length of the request, the request, and nothing more: when it ends, the step ends. `output`
    is the step's standard output and error. `report` gets dicts as `marshal` writes them, each with its length before it
    (LENGTH bytes): `made` (mount points), `failed` (before the program started), `status`.
    """

    control: int
    output: int
    report: int


@frozen
class Request:
    """`root` is where the step's root is mounted (in the step's mount namespace alone); `files` are shown in the
    step's root (path -> content), and in no layer."""

    stack: Stack
    root: Path
    command: Command
    files: Mapping[str, bytes]

    def encode(self) -> bytes:
        c, s = self.command, self.stack
        mounts = tuple(
            (m.kind, m.target, _text(m.source), m.content, m.readonly, m.uid, m.gid, m.mode, m.size) for m in c.mounts
        )
        command = (c.argv, dict(c.env), c.cwd, c.uid, c.gid, c.groups, c.network, mounts, c.hostname, c.stdin)
        stack = (tuple(map(os.fspath, s.lowers)), os.fspath(s.upper), os.fspath(s.work))
        return marshal.dumps((stack, os.fspath(self.root), command, dict(self.files)))


def reports(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The whole ones at the beginning of what `report` has brought, and the rest."""
    found = []
    while len(data) >= LENGTH and len(data) >= (end := LENGTH + int.from_bytes(data[:LENGTH], "big")):
        found.append(marshal.loads(data[LENGTH:end]))  # noqa: S302  as in `decode`
        data = data[end:]
    return found, data


def decode(data: bytes) -> Request:
    """The request of `Request.encode`'s bytes."""
    stack, root, command, files = marshal.loads(data)  # noqa: S302  written by `encode`, in this very version
    lowers, upper, work = stack
    argv, env, cwd, uid, gid, groups, network, mounts, hostname, stdin = command
    shown = tuple(map(_mount, mounts))
    wanted = Command(argv, env, cwd, uid, gid, groups, network, shown, hostname, stdin)
    return Request(Stack(tuple(map(Path, lowers)), Path(upper), Path(work)), Path(root), wanted, files)


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _mount(fields: tuple[Any, ...]) -> MountSpec:
    kind, target, source, *rest = fields
    return MountSpec(kind, target, None if source is None else Path(source), *rest)
