"""Cache keys. Pure: values in, hex out.

Every part is a JSON value, and JSON keeps them apart: no two different steps can spell one key. Keys hold content, mode,
names, links and xattrs of files; of their times only those that a layer keeps and that are no accident.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from typing import Any

from strata_builder.entries import Entry, Item, Kind

FORMAT = 1  # a change of what a key means changes every key

# A step's time lies in [2000-01-01, 2020-01-01): never in the future, never the epoch that some tools take for "unset".
_FIRST, _SPAN = 946_684_800, 631_152_000


def key(kind: str, *parts: Any) -> str:
    """sha256 over the kind of step and its parts (JSON values; bytes are taken as text with escapes)."""
    text = json.dumps([FORMAT, kind, *parts], sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def entries(found: Iterable[tuple[bytes, Entry]]) -> str:
    """One digest over names and what they hold; a file counts by its content's digest."""
    hasher = hashlib.sha256()
    for path, entry in found:
        line = json.dumps([path, *_content(entry)], separators=(",", ":"), default=_plain)
        hasher.update(line.encode("ascii") + b"\n")
    return hasher.hexdigest()


def items(placed: Sequence[Item], *, undated: Container[bytes] = ()) -> str:
    """One digest over a layer's entries with their owners and times; without the times of the paths in `undated`."""
    hasher = hashlib.sha256()
    for item in placed:
        entry = item.entry
        time = None if entry.path in undated else entry.mtime
        parts = [entry.path, *_content(entry), entry.uid, entry.gid, time]
        hasher.update(json.dumps(parts, separators=(",", ":"), default=_plain).encode("ascii") + b"\n")
    return hasher.hexdigest()


def step_time(content_key: str) -> int:
    """A whole second that depends on the content alone: equal files get equal times, changed ones another."""
    return _FIRST + int(content_key[:12], 16) % _SPAN


def is_step_time(time: int) -> bool:
    return _FIRST <= time < _FIRST + _SPAN


def _content(entry: Entry) -> list[Any]:
    what = entry.digest if entry.kind == Kind.FILE else entry.link
    return [int(entry.kind), entry.mode, what, [entry.major, entry.minor], list(entry.xattrs)]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"{type(value).__name__} has no place in a key")
