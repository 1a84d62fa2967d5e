"""Cache keys. Pure: values in, hex out.

Every part is a JSON value, and JSON keeps them apart: no two different steps can spell one key. Entries are told by numbers
of fixed width and by strings after their lengths, which are as unmistakable and twenty times as quick. Keys hold content,
mode, names, links and xattrs of files; of their times only those that a layer keeps and that are no accident.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from strata_builder.entries import Entry, Kind

_AT_ONCE = 256  # entries that are hashed together
#: Kind, mode, numbers of a device, and how many bytes of path, content or link, and attributes follow.
_HEAD = struct.Struct("<BHIIIII")
FORMAT = 3  # a change of what a key means changes every key

# A step's time lies in [2000-01-01, 2020-01-01): never in the future, never the epoch that some tools take for "unset".
_FIRST, _SPAN = 946_684_800, 631_152_000


def key(kind: str, *parts: Any) -> str:
    """sha256 over the kind of step and its parts (JSON values; bytes are taken as text with escapes)."""
    text = json.dumps([FORMAT, kind, *parts], sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def entries(found: Iterable[tuple[bytes, Entry]]) -> str:
    """One digest over names and what they hold; a file counts by its content's digest."""
    return _digest(_line(path, entry) for path, entry in found)


def shown(found: Iterable[Entry]) -> str:
    """One digest over entries with their owners, without their times."""
    return _digest(b"%d %d %b" % (entry.uid, entry.gid, _line(entry.path, entry)) for entry in found)


def rows(found: Iterable[bytes]) -> str:
    """One digest over a layer's entries as `Items.rows` tells them."""
    return _digest(iter(found))


def step_time(content_key: str) -> int:
    """A whole second that depends on the content alone: equal files get equal times, changed ones another."""
    return _FIRST + int(content_key[:12], 16) % _SPAN


def is_step_time(time: int) -> bool:
    return _FIRST <= time < _FIRST + _SPAN


def _digest(lines: Iterator[bytes]) -> str:
    hasher = hashlib.sha256()
    while some := b"".join(itertools.islice(lines, _AT_ONCE)):
        hasher.update(some)
    return hasher.hexdigest()


def _line(path: bytes, entry: Entry) -> bytes:
    _, kind, mode, _, _, _, _, link, major, minor, xattrs, digest = entry
    what = digest.encode("ascii") if kind is Kind.FILE else link
    more = b"".join(b"%d:%b%d:%b" % (len(key), key, len(value), value) for key, value in xattrs) if xattrs else b""
    return _HEAD.pack(kind, mode, major, minor, len(path), len(what), len(more)) + path + what + more


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"{type(value).__name__} has no place in a key")
