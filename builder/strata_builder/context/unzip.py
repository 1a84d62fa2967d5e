"""A zip archive into a folder. Its directory stands at its end, so it is kept in a file while it arrives."""

from __future__ import annotations

import bz2
import io
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder import errors
from strata_builder.context import limits, writing, zipdirectory
from strata_builder.entries import Entry, Kind
from strata_builder.layers import decompress, folders, paths, storage

_PIECE: Final = 256 << 10
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_NOTHING: Final = io.BytesIO()
#: APPNOTE.TXT 4.4.5, for messages.
_METHODS: Final = {9: "Deflate64", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}


def extract(stream: decompress.Stream, dest: Path, budget: limits.Budget, name: str) -> None:
    """Writes the archive below `dest`, which exists and is empty; the file that keeps it is no larger than `budget`.

    Files have the modes of a Unix archive, else 0644, folders 0755. `name` is for messages. Raises LayerError for what
    is no zip archive, NotSupported for one that is encrypted, split or compressed otherwise than with Deflate and
    bzip2, InvalidSpec, StorageLimitExceeded.
    """
    with storage.full_is_a_limit(dest), tempfile.TemporaryFile(dir=dest.parent) as file:
        total = 0
        while piece := stream.read(1 << 20):
            total += len(piece)
            budget.check(total)
            file.write(piece)
        with folders.Folders(dest) as below:
            writer = writing.Writer(below, budget)
            for member in zipdirectory.members(file, name):
                _write(writer, file, member, name)
            writer.finish()


def _write(writer: writing.Writer, file: BinaryIO, member: zipdirectory.Member, name: str) -> None:
    where = f"{name}: {paths.show(member.name)}"
    kind = _kind(member, where)
    path = _path(member.name, where)
    mode = stat.S_IMODE(member.mode) or (0o755 if kind == Kind.DIR else 0o644)
    if kind == Kind.DIR:
        writer.write(Entry(path, kind, mode, mtime=member.mtime), _NOTHING)
        return
    content = _Content(file, member, where)
    if kind == Kind.SYMLINK:
        link = _link(content, member, where)
        writer.write(Entry(path, kind, 0o777, mtime=member.mtime, link=link), _NOTHING)
    else:
        writer.write(Entry(path, kind, mode, mtime=member.mtime, size=member.size), content)


def _kind(member: zipdirectory.Member, where: str) -> Kind:
    kind = stat.S_IFMT(member.mode)
    if member.name.endswith(b"/") or kind == stat.S_IFDIR:
        return Kind.DIR
    if kind == stat.S_IFLNK:
        return Kind.SYMLINK
    if kind in (0, stat.S_IFREG):
        return Kind.FILE
    raise errors.LayerError(f"{where} is a device, a pipe or a socket, which a build context cannot hold")


def _path(name: bytes, where: str) -> bytes:
    if b".." in name.split(b"/"):
        raise errors.LayerError(
            f"{where} leads out of its folder", hint="make the archive again, with names without '..'"
        )
    return paths.normalise(name)


def _link(content: _Content, member: zipdirectory.Member, where: str) -> bytes:
    if not 0 < member.size <= paths.MAX_PATH:
        raise errors.LayerError(f"{where} is a symlink to nothing, or to a name that is too long")
    text = content.readall()
    if b"\0" in text:
        raise errors.LayerError(f"{where} is a symlink to a name with a NUL byte")
    return text


class _Content(io.RawIOBase):
    """What a member holds, front to back. Its end raises LayerError unless size and checksum are the directory's."""

    def __init__(self, file: BinaryIO, member: zipdirectory.Member, where: str) -> None:
        super().__init__()
        self._member, self._where = member, where
        self._pieces = _pieces(_Range(file, zipdirectory.data_start(file, member, where), member.stored), member, where)
        self._rest = memoryview(b"")
        self._total = self._crc = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = self._next()
        piece = self._rest[: len(buffer)]
        memoryview(buffer)[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)

    def _next(self) -> memoryview:
        try:
            piece = next(self._pieces, b"")
        except (zlib.error, OSError) as e:
            raise errors.LayerError(f"{self._where} cannot be decompressed: {e}") from e
        self._total += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        done = not piece and (self._total, self._crc) != (self._member.size, self._member.crc)
        if done or self._total > self._member.size:
            raise errors.LayerError(
                f"{self._where} is not what the archive's directory says: it is damaged, or cut short",
                hint="fetch or make the file again",
            )
        return memoryview(piece)


class _Range:
    """So many bytes of a file from a place on, whoever else reads of it meanwhile."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._at, self._end = file, start, start + size

    def read(self) -> bytes:
        self._file.seek(self._at)
        piece = self._file.read(min(_PIECE, self._end - self._at))
        self._at += len(piece)
        return piece


def _pieces(stored: _Range, member: zipdirectory.Member, where: str) -> Iterator[bytes]:
    """The content in pieces of at most _PIECE bytes, however much a few stored bytes stand for."""
    if member.method == _STORED:
        return iter(stored.read, b"")
    if member.method == _DEFLATED:
        return _inflated(stored)
    if member.method == _BZIP2:
        return _unbzipped(stored)
    method = _METHODS.get(member.method, f"method {member.method}")
    raise errors.NotSupported(
        f"{where} is compressed with {method}", hint="make the archive with Deflate (zip -Z deflate), or a tar archive"
    )


def _inflated(stored: _Range) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflate.eof:
        data = inflate.unconsumed_tail or stored.read()
        piece = inflate.decompress(data, _PIECE)
        if piece:
            yield piece
        elif not data:
            return


def _unbzipped(stored: _Range) -> Iterator[bytes]:
    expand = bz2.BZ2Decompressor()
    while not expand.eof:
        data = stored.read() if expand.needs_input else b""
        if expand.needs_input and not data:
            return
        if piece := expand.decompress(data, _PIECE):
            yield piece
