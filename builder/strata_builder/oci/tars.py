"""The little of tar that image archives need: where each member's bytes lie, and deterministic headers. Nothing is ever
unpacked.

Read: ustar, pax (path, linkpath, size) and GNU long names (POSIX pax; GNU tar manual, "Standard"). Written: ustar,
sizes beyond 8 GiB in base 256.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from strata_builder.frozen import frozen
from strata_builder.oci import errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK: Final = 512
MAX_MEMBERS: Final = 100_000
_MAX_EXTENSION: Final = 1 << 20  # bytes of a pax header or a long name
_FILES: Final = b"0\0"
_LINKS: Final = b"12"


@frozen
class Member:
    """A file (`offset`, `size` of its bytes) or a link to the member `target`."""

    name: str
    offset: int
    size: int
    target: str = ""
    hard: bool = False


class TarReader:
    """The members of a tar file that can be read at any place. Several threads may read at once. Close it."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        """Reads all headers. `file` must be a real, uncompressed file. Raises ImageInvalid naming `name`."""
        self._file = file
        self._name = name
        self.members = {member.name: member for member in _scan(file.fileno(), name)}

    def open(self, path: str) -> BinaryIO:
        """A reader of the file at `path`, links within the archive followed. Raises ImageInvalid."""
        member = self.find(path)
        return cast("BinaryIO", _Slice(self._file.fileno(), member.offset, member.size, self._name))

    def read(self, path: str, *, limit: int) -> bytes:
        member = self.find(path)
        if member.size > limit:
            raise errors.ImageInvalid(f"{self._name}: {path} has {member.size} bytes, more than {limit}")
        with self.open(path) as reader:
            return reader.read()

    def find(self, path: str) -> Member:
        wanted = _clean(path)
        for _ in range(8):
            member = self.members.get(wanted)
            if member is None:
                raise errors.ImageInvalid(f"{self._name} lacks the file {path[:200]!r}")
            if not member.target:
                return member
            wanted = _clean(member.target if member.hard else f"{wanted.rpartition('/')[0]}/{member.target}")
        raise errors.ImageInvalid(f"{self._name}: the links at {path[:200]!r} lead nowhere")

    def close(self) -> None:
        self._file.close()


class _Slice(io.RawIOBase):
    def __init__(self, fd: int, offset: int, size: int, name: str) -> None:
        super().__init__()
        self._fd, self._offset, self._left, self._name = fd, offset, size, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        count = os.preadv(self._fd, [view], self._offset) if view.nbytes else 0
        if view.nbytes and not count:
            raise errors.ImageInvalid(f"{self._name} ends in the middle of a file")
        self._offset += count
        self._left -= count
        return count


def header(name: str, size: int, *, folder: bool = False) -> bytes:
    """A ustar header of root's, with mode 0644 or 0755 and the time 1970-01-01: nothing in it depends on where or when
    it was made."""
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"{name!r} is too long for a ustar name")
    length = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    parts = (
        encoded.ljust(100, b"\0"),
        b"0000755\0" if folder else b"0000644\0",
        b"0000000\0" * 2,
        length,
        b"00000000000\0",
        b" " * 8,
        b"5" if folder else b"0",
        b"\0" * 100,
        b"ustar\x0000",
    )
    block = b"".join(parts).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    return b"\0" * (-size % BLOCK)


END: Final = b"\0" * (2 * BLOCK)


def _scan(fd: int, name: str) -> Iterator[Member]:
    offset, count, extra = 0, 0, dict[str, str]()
    while block := os.pread(fd, BLOCK, offset):
        if block.count(0) == BLOCK:
            return
        _check(block, name, offset)
        size = _stated(extra.pop("size"), name) if "size" in extra else _number(block[124:136], name)
        kind, at = block[156:157], offset + BLOCK
        offset = at + size + len(padding(size))
        if kind in b"xgLK":
            extra |= _extension(kind, _extension_bytes(fd, at, size, name), name)
            continue
        member = _member(block, kind, at, size, extra)
        extra = {}
        count += 1
        if count > MAX_MEMBERS:
            raise errors.ImageInvalid(f"{name} has more than {MAX_MEMBERS} members")
        if member is not None:
            yield member


def _member(block: bytes, kind: bytes, at: int, size: int, extra: dict[str, str]) -> Member | None:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    path = extra.get("path") or (f"{prefix}/" if prefix else "") + _text(block[:100])
    if kind in _FILES:
        return Member(_clean(path), at, size)
    if kind in _LINKS:
        return Member(_clean(path), at, 0, extra.get("linkpath") or _text(block[157:257]), kind == b"1")
    return None


def _extension_bytes(fd: int, at: int, size: int, name: str) -> bytes:
    if size > _MAX_EXTENSION:
        raise errors.ImageInvalid(f"{name}: an extended header has {size} bytes")
    return os.pread(fd, size, at)


def _extension(kind: bytes, data: bytes, name: str) -> dict[str, str]:
    if kind == b"g":
        return {}
    if kind in b"LK":
        return {"path" if kind == b"L" else "linkpath": _text(data)}
    found, at = dict[str, str](), 0
    while at < len(data):
        length, space, _ = data[at : at + 8].partition(b" ")
        count = int(length) if space and length.isdigit() else 0
        key, equals, value = data[at + len(length) + 1 : at + count].rstrip(b"\n").partition(b"=")
        if not count or not equals:
            raise errors.ImageInvalid(f"{name}: an extended header is damaged")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += count
    return {key: found[key] for key in ("path", "linkpath", "size") if key in found}


def _stated(size: str, name: str) -> int:
    if not (size.isascii() and size.isdigit() and len(size) < 19):
        raise errors.ImageInvalid(f"{name}: an extended header is damaged")
    return int(size)


def _check(block: bytes, name: str, offset: int) -> None:
    stated = block[148:156].strip(b" \0")
    actual = sum(block) - sum(block[148:156]) + 8 * 32
    if len(block) != BLOCK or not stated or stated.strip(b"01234567") or int(stated, 8) != actual:
        hint = "decompress it first" if offset == 0 and block[:4] in (b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd") else ""
        raise errors.ImageInvalid(f"{name} is not a tar archive, or damaged at byte {offset}", hint=hint)


def _number(data: bytes, name: str) -> int:
    if data[0] & 0x80:
        value = int.from_bytes(data, "big") & ((1 << 95) - 1)
    else:
        digits = data.strip(b" \0") or b"0"
        if not all(48 <= c < 56 for c in digits):
            raise errors.ImageInvalid(f"{name} has a header with a damaged size")
        value = int(digits, 8)
    if value >= 1 << 62:
        raise errors.ImageInvalid(f"{name} has a header with a damaged size")
    return value


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _clean(path: str) -> str:
    """`./a//b/../c` -> `a/c`. Names are only keys here, never paths of the file system."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
