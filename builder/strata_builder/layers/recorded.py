"""What unpacking had to leave out (owner, device, attribute), so that it is not taken for a change later. Pure."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable
from typing import Final

from strata_builder.entries import Entry
from strata_builder.frozen import frozen

OWNER: Final = "owner"
DEVICE: Final = "device"
ATTRIBUTE: Final = "attribute "
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID


@frozen
class Skipped:
    """Something of `path` that could not be written: `what` is "owner", "device" or "attribute <name>"."""

    path: bytes
    what: str
    why: str


def by_path(skipped: Iterable[Skipped]) -> dict[bytes, set[str]]:
    found: dict[bytes, set[str]] = {}
    for item in skipped:
        found.setdefault(item.path, set()).add(item.what)
    return found


def completed(entry: Entry, lower: Entry, left_out: Collection[str]) -> Entry:
    """`entry` as it is on disk, with what `lower` has and could not be written there.

    A file without its owner belongs to whoever unpacked it, and lost its setuid bits. If a step gave it another owner
    or mode since, that stands.
    """
    if OWNER in left_out and (entry.uid, entry.gid) == (0, 0):
        entry = entry._replace(uid=lower.uid, gid=lower.gid)
        if entry.mode == lower.mode & ~_SET_ID:
            entry = entry._replace(mode=lower.mode)
    held = dict(entry.xattrs)
    for name, value in lower.xattrs:
        if ATTRIBUTE + name.decode("utf-8", "backslashreplace") in left_out:
            held.setdefault(name, value)
    return entry._replace(xattrs=tuple(sorted(held.items())))
