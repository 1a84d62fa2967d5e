"""Rules of names inside a layer. Pure.

A path is bytes relative to the image's root: no leading or trailing slash, no empty, `.` or `..` component. The root
itself is b"".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry, Kind

#: image-spec, layer.md "Whiteouts".
WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
#: Linux: PATH_MAX and NAME_MAX. What is longer cannot be unpacked anywhere.
MAX_PATH: Final = 4096
MAX_NAME: Final = 255


def normalise(path: bytes) -> bytes:
    """`path` relative to the root, with `.` and empty components gone and `..` clamped at the root.

    Raises LayerError for a NUL byte and for names that no Linux file system takes.
    """
    if is_plain(path):
        return path
    if b"\0" in path:
        raise errors.LayerError(f"the name {show(path)} holds a NUL byte")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    normal = b"/".join(parts)
    if len(normal) > MAX_PATH or any(len(part) > MAX_NAME for part in parts):
        raise errors.LayerError(f"the name {show(path)} is longer than a Linux file system takes")
    return normal


def is_normal(path: bytes) -> bool:
    """Whether `normalise` would give `path` back. Raises as it does."""
    return is_plain(path) or normalise(path) == path


def is_plain(path: bytes) -> bool:
    """Whether a look is enough to see that `path` is in its normal form, as nearly all are."""
    if len(path) > MAX_NAME or path[:1] in (b"/", b".") or path[-1:] == b"/":
        return False
    return b"/." not in path and b"//" not in path and b"\0" not in path


_AT_ONCE: Final = 1024
#: What `normalise` changes or refuses, but for its length; and what is reserved.
_ODD: Final = re.compile(rb"\0|(?:\A|/)(?:\.?\.?(?:/|\Z)|\.wh\.)")


def is_usual(path: bytes) -> bool:
    """Whether a look is enough to see that `path` is normal and not reserved, as nearly all are. The root is not."""
    return len(path) <= MAX_NAME and not _ODD.search(path)


def unusual(found: Iterable[bytes]) -> Iterator[bytes]:
    """Those for which a look is not enough; of many at once."""
    left = iter(found)
    while some := list(itertools.islice(left, _AT_ONCE)):
        joined = b"/%b/" % b"/".join(some)
        if b"/." in joined or b"//" in joined or b"\0" in joined or max(map(len, some)) > MAX_NAME:
            yield from (path for path in some if not is_usual(path))


def split(path: bytes) -> tuple[bytes, bytes]:
    """(parent, last component); the root's own are both empty."""
    parent, _, name = path.rpartition(b"/")
    return parent, name


def join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def parents(path: bytes) -> Iterator[bytes]:
    """The directories above `path`, topmost first, without the root and without `path` itself."""
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def is_below(path: bytes, folder: bytes) -> bool:
    return path != folder if not folder else path.startswith(folder + b"/")


def order(path: bytes) -> bytes:
    """A sort key that gives the order of a walk: each directory is followed by all that is below it."""
    return path.replace(b"/", b"\0")


def in_order(found: Iterable[bytes]) -> list[bytes]:
    """`found` in the order of a walk. Of a million paths that are in order already, no keys are made."""
    ordered = list(found)
    last = b""
    for path in ordered:
        place = order(path)
        if place < last:
            ordered.sort(key=order)
            break
        last = place
    return ordered


def is_whiteout(path: bytes) -> bool:
    """Whether the last component carries the reserved prefix (opaque markers included)."""
    return split(path)[1].startswith(WHITEOUT)


def has_reserved_name(path: bytes) -> bool:
    return path.startswith(WHITEOUT) or b"/" + WHITEOUT in path


def is_overlay_whiteout(entry: Entry) -> bool:
    """Whether it is the character device 0:0 (Linux, Documentation/filesystems/overlayfs.rst, "whiteouts")."""
    return entry.kind is Kind.CHAR and entry.major == entry.minor == 0


def whiteout_for(path: bytes) -> bytes:
    """The name whose presence in a layer hides `path` of the layers below."""
    parent, name = split(path)
    return join(parent, WHITEOUT + name)


def show(path: bytes) -> str:
    """`path` for people: quoted, on one line, whatever bytes it holds; cut in the middle when very long."""
    text = path.decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f"'{text}'" if len(text) <= 300 else f"'{text[:140]}[...]{text[-140:]}'"


#: Labels of the machine's security modules, rights of its NFS server.
_OF_THE_MACHINE: Final = (
    b"security.selinux",
    b"security.ima",
    b"security.evm",
    b"security.SMACK64",
    b"system.nfs4_acl",
)


def is_foreign_xattr(name: bytes) -> bool:
    """Whether an extended attribute belongs to the machine or to an overlay mount, never to a layer's file.

    Taken from a layer, those of an overlay would redirect or hide files.
    """
    return name.startswith((b"trusted.overlay.", b"user.overlay.")) or name in _OF_THE_MACHINE
