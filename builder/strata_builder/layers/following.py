"""Symbolic links of a tree or a view, followed without ever leaving it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths

MAX_LINKS = 255  # Go's filepath.EvalSymlinks gives up there


def follow(lookup: Callable[[bytes], Entry | None], path: bytes) -> bytes:
    """`path` with every symlink in it resolved, the last component's too; `..` and absolute links stop at the root.

    `lookup` has lstat semantics. What is missing stands as it is. Raises LayerError for a loop, and for a path that is longer
    than Linux takes.
    """
    if len(path) > paths.MAX_PATH:
        raise errors.LayerError(
            f"the path {paths.show(path)} is longer than Linux takes ({paths.MAX_PATH} bytes)",
            hint="name a shorter one",
        )
    done: list[bytes] = []
    todo = path.split(b"/")[::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            del done[-1:]
            continue
        entry = lookup(b"/".join([*done, part]))
        if entry is None or entry.kind != Kind.SYMLINK:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise errors.LayerError(f"too many symbolic links in /{path.decode('utf-8', 'replace')}")
        if entry.link.startswith(b"/"):
            done.clear()
        todo.extend(entry.link.split(b"/")[::-1])
    return b"/".join(done)
