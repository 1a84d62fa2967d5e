"""The keys of a ConfigMap, as the kubelet mounts them, as a build context.

A mount is a folder of symlinks: each key points to `..data/<key>`, and `..data` to the folder of the current version,
which the kubelet exchanges in one step. So the version is taken once, and that is the only link that is followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import memory

#: Bytes of all keys together. A ConfigMap holds at most 1 MiB.
_LIMIT: Final = 2 << 20
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(folder: Path, files: Sequence[tuple[str, str]] = ()) -> memory.MemoryTree:
    """The tree of `files`, pairs of (path in the context, key); without any, each key is a file of its name.

    Raises SourceNotFound for a folder or key that is not there, InvalidSpec for a path outside the context.
    """
    descriptor = _open_version(folder)
    try:
        keys = sorted(name for name in os.listdir(descriptor) if not name.startswith(".."))
        wanted = files or [(key, key) for key in keys]
        contents = {key: _content(descriptor, key, keys) for key in dict.fromkeys(key for _, key in wanted)}
    finally:
        os.close(descriptor)
    if sum(map(len, contents.values())) > _LIMIT:
        raise errors.InvalidSpec(f"the files of the ConfigMap are larger than {_LIMIT} bytes")
    return memory.MemoryTree({path.encode("utf-8", "surrogateescape"): contents[key] for path, key in wanted})


def _open_version(folder: Path) -> int:
    try:
        top = os.open(folder, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
    except OSError as e:
        raise errors.SourceNotFound(f"the files of the context are not mounted at {folder}: {e.strerror}") from e
    try:
        version = os.readlink("..data", dir_fd=top)
    except OSError:
        return top  # a plain folder, as a host has it
    try:
        if "/" in version or version in ("", ".", ".."):
            raise errors.SourceNotFound(f"{folder}/..data is not a link that a kubelet makes")
        return os.open(version, _FOLDER_FLAGS, dir_fd=top)
    finally:
        os.close(top)


def _content(folder: int, key: str, keys: Sequence[str]) -> bytes:
    if key not in keys:
        raise errors.SourceNotFound(
            f"the ConfigMap has no key {key!r}", hint=f"its keys are: {', '.join(keys)[:200] or '(none)'}"
        )
    try:
        descriptor = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as e:
        raise errors.SourceNotFound(f"cannot read the key {key!r} of the ConfigMap: {e.strerror}") from e
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise errors.SourceNotFound(f"the key {key!r} of the ConfigMap is not a file")
        return file.read(_LIMIT + 1)
