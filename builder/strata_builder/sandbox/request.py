"""What the builder asks of the process that becomes a step, as JSON, and by which pipes. Pure."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from strata_builder.frozen import frozen
from strata_builder.rootfs.stack import Stack
from strata_builder.sandbox.command import Command, MountSpec


class Pipes(NamedTuple):
    """The server's ends of one step's pipes.

    `control` carries the length of the request, the request, and nothing more: when it ends, the step ends. `output`
    is the step's standard output and error. `report` gets a JSON object a line: `made` (mount points), `failed` (before
    the program started), `status`.
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
        c = self.command
        return json.dumps(
            {
                "lowers": [str(path) for path in self.stack.lowers],
                "upper": str(self.stack.upper),
                "work": str(self.stack.work),
                "root": str(self.root),
                "argv": c.argv,
                "env": dict(c.env),
                "cwd": os.fsdecode(c.cwd),
                "ids": [c.uid, c.gid, *c.groups],
                "network": c.network,
                "hostname": c.hostname,
                "stdin": _text(c.stdin),
                "mounts": [_mount(mount) for mount in c.mounts],
                "files": {name: _text(content) for name, content in self.files.items()},
            }
        ).encode()


def decode(data: bytes) -> Request:
    """The request of `Request.encode`'s bytes."""
    d = json.loads(data)
    uid, gid, *groups = d["ids"]
    command = Command(
        argv=tuple(d["argv"]),
        env=d["env"],
        cwd=os.fsencode(d["cwd"]),
        uid=uid,
        gid=gid,
        groups=tuple(groups),
        network=d["network"],
        mounts=tuple(_unmount(mount) for mount in d["mounts"]),
        hostname=d["hostname"],
        stdin=_content(d["stdin"]),
    )
    files = {name: base64.b64decode(content) for name, content in d["files"].items()}
    stack = Stack(tuple(map(Path, d["lowers"])), Path(d["upper"]), Path(d["work"]))
    return Request(stack, Path(d["root"]), command, files)


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _content(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _mount(m: MountSpec) -> dict[str, Any]:
    source = None if m.source is None else str(m.source)
    what = {"kind": m.kind, "target": os.fsdecode(m.target), "source": source, "content": _text(m.content)}
    return what | {"readonly": m.readonly, "uid": m.uid, "gid": m.gid, "mode": m.mode, "size": m.size}


def _unmount(d: Mapping[str, Any]) -> MountSpec:
    return MountSpec(
        d["kind"],
        os.fsencode(d["target"]),
        None if d["source"] is None else Path(d["source"]),
        _content(d["content"]),
        d["readonly"],
        d["uid"],
        d["gid"],
        d["mode"],
        d["size"],
    )
