"""Tar as entries with content, in the order of the archive: ustar, pax, GNU, and the tar of Unix V7.

Read as strictly as a layer from a stranger has to be: checksums, lengths and numbers are checked, nothing is guessed.
Names are normalised (`./a`, `/a` and `../a` are all `a`); links keep their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths, tarfields, tarheader, tarplain
from strata_builder.layers.source import Limits, Source

_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIR,
    b"D": Kind.DIR,
    b"6": Kind.FIFO,
}
_ZEROS: Final = memoryview(bytes(1 << 20))
_MAX_ID: Final = 2**32 - 2
_MAX_TIME: Final = 2**63 - 1
_MAX_MAJOR: Final = 2**12 - 1  # Linux, include/linux/kdev_t.h
_MAX_MINOR: Final = 2**20 - 1


class Where:
    """Where in the archive something is wrong, in words: made only when they are wanted."""

    __slots__ = ("_name", "_words")

    def __init__(self, words: str, name: bytes | None = None) -> None:
        self._words, self._name = words, name

    def __str__(self) -> str:
        return self._words if self._name is None else f"{self._words} {paths.show(self._name)}"


class Content:
    """What a FILE holds: read once, front to back, before the next entry is asked for. Holes come as zeros."""

    __slots__ = ("_at", "_name", "_segments", "_size", "_source", "stored_left")

    def __init__(self, source: Source, size: int, name: bytes, segments: tarfields.Segments | None = None) -> None:
        self._source = source
        self._name = name
        self._segments = None if segments is None else segments[::-1]
        self._at = 0
        self._size = size
        self.stored_left = size if segments is None else sum(length for _, length in segments)

    def whole(self) -> memoryview | None:
        """All of it, as small files lie in memory, until the next entry is asked for; None where it has to be read in
        pieces. To be asked before anything is read."""
        found = self._source.whole(self._size) if self._segments is None else None
        if found is not None:
            self._at, self.stored_left = self._size, 0
        return found

    def pieces(self) -> Iterator[memoryview]:
        """All that is left, as it lies in memory; each piece is gone when the next one is asked for."""
        while piece := self._piece(_ZEROS.nbytes):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """As of a raw file: all that is left, or some of the next `size` bytes."""
        return b"".join(self.pieces()) if size < 0 else bytes(self._piece(size))

    def readinto(self, buffer: bytearray | memoryview) -> int:
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Nothing: what is not read is passed over."""

    def _piece(self, most: int) -> memoryview:
        most = min(most, self._size - self._at)
        start, length = self._segment()
        if self._at < start:
            piece = _ZEROS[: min(most, start - self._at)]
        elif piece := self._source.piece(min(most, start + length - self._at)):
            self.stored_left -= len(piece)
        elif most:
            raise cut_short(Where("entry", self._name))
        self._at += len(piece)
        return piece

    def _segment(self) -> tuple[int, int]:
        """Offset and length of the stored bytes that come next, or are being read."""
        if self._segments is None:
            return 0, self._size
        while self._segments and self._at >= self._segments[-1][0] + self._segments[-1][1]:
            self._segments.pop()
        return self._segments[-1] if self._segments else (self._size, 0)


def cut_short(where: Where) -> errors.LayerError:
    return errors.LayerError(f"{where}: the archive is cut short", hint="fetch or make the file again")


_Found = tuple[Entry, Content, int]
"""An entry, its content, and how many bytes of padding follow that."""


class TarReader:
    """An iterator of (entry, content); the content of anything but a FILE is empty.

    `trailer` tells whether an archive that ends without the mark of its end is refused: pass False only where a digest
    proves that it is whole, or where it is a file that somebody made so. Every failure is a LayerError that names the entry.
    """

    def __init__(self, source: Source, limits: Limits, *, trailer: bool = True) -> None:
        self._source = source
        self._limits = limits
        self._trailer = trailer
        self._global: dict[bytes, bytes] = {}
        self._count = 0
        self._name: bytes | None = None

    def __iter__(self) -> Iterator[tuple[Entry, Content]]:
        while (found := self._plain() or self._extended()) is not None:
            entry, content, padding = found
            yield entry, content
            left = content.stored_left + padding
            if self._source.skip(left) != left:
                raise cut_short(self._where)

    @property
    def _where(self) -> Where:
        """The last entry."""
        return Where("entry", self._name) if self._name is not None else Where("the beginning of the archive")

    @property
    def _after(self) -> Where:
        return Where("after entry", self._name) if self._name is not None else self._where

    def _plain(self) -> _Found | None:
        """The next entry if its header is as nearly all are; else nothing has been read."""
        block = self._source.peek(tarheader.BLOCK)
        plain = tarplain.read(block) if block and not self._global else None
        if plain is None:
            return None
        self._source.skip(tarheader.BLOCK)
        self._counted()
        entry, self._name = plain
        return entry, Content(self._source, entry.size, plain.name), tarheader.padding(entry.size)

    def _extended(self) -> _Found | None:
        """The next entry, whatever its header; None at the end."""
        header = self._header()
        if header is None:
            return None
        entry, content = self._entry(header)
        return entry, content, tarheader.padding(header.stored)

    def _header(self) -> _Header | None:
        """The next entry's header with all that extends it; None at the end."""
        header = _Header()
        while (block := self._block()) is not None:
            kind = block[156:157]
            size = _size(block, self._where)
            if kind in (b"x", b"X"):
                header.records = tarfields.records(self._body(size), self._where)
            elif kind == b"g":
                self._keep_global(tarfields.records(self._body(size), self._where))
            elif kind == b"L":
                header.name = tarfields.text(self._body(size))
            elif kind == b"K":
                header.link = tarfields.text(self._body(size))
            elif kind == b"V":
                self._body(size)
            else:
                header.complete(block, self._global)
                return header
        if header.records or header.name or header.link:
            raise cut_short(self._where)
        return None

    def _block(self) -> bytes | None:
        block = self._source.read(tarheader.BLOCK)
        if not block or block == tarfields.ZERO:
            # An empty stream is a layer without entries; elsewhere the end has to be marked.
            if not block and self._trailer and self._count:
                raise cut_short(self._after)
            return None
        if len(block) != tarheader.BLOCK:
            raise cut_short(self._after)
        self._counted()
        tarfields.check(block, self._after if self._count > 1 else self._where)
        return block

    def _counted(self) -> None:
        self._count += 1
        if self._count > 3 * self._limits.entries:
            raise errors.LayerError(f"the archive has more than {self._limits.entries} entries")

    def _body(self, size: int) -> bytes:
        if size > self._limits.extended:
            raise errors.LayerError(f"after {self._where}: an extended header of {size} bytes is too large")
        body = self._source.read(size)
        if len(body) != size or self._source.skip(tarheader.padding(size)) != tarheader.padding(size):
            raise cut_short(self._after)
        return body

    def _keep_global(self, found: tarfields.Records) -> None:
        merged = {**self._global, **dict(found)}
        if sum(len(key) + len(value) for key, value in merged.items()) > self._limits.extended:
            raise errors.LayerError(f"after {self._where}: the global extended headers are too large")
        self._global = {key: value for key, value in merged.items() if value}

    def _entry(self, header: _Header) -> tuple[Entry, Content]:
        raw = header.raw_name()
        self._name = raw
        header.where = where = self._where
        path = paths.normalise(raw[:-1] if raw[-1:] == b"/" else raw)
        kind = header.kind(raw)
        if not path and kind is not Kind.DIR:
            raise errors.LayerError(f"{where} is the root of the image, but no directory")
        content = self._content(header, kind, raw)
        size = header.size if kind is Kind.FILE else 0
        return header.entry(path, kind, size), content

    def _content(self, header: _Header, kind: Kind, name: bytes) -> Content:
        header.read_sizes(kind)
        if kind is not Kind.FILE:
            return Content(self._source, header.stored, name)
        segments = header.segments(self._source)
        if segments is None:
            return Content(self._source, header.size, name)
        segments = tarfields.checked_segments(segments, header.stored - header.map_size, header.size, header.where)
        self._source.expand(header.size)
        return Content(self._source, header.size, name, segments)


def _size(block: bytes, where: Where) -> int:
    size = tarfields.number(block[124:136], "size", where)
    if size < 0:
        raise errors.LayerError(f"after {where}: a tar header has a negative size")
    return size


class _Header:
    """One entry's block and what the blocks before it said about it."""

    def __init__(self) -> None:
        self.block = tarfields.ZERO
        self.pax: dict[bytes, bytes] = {}
        self.records: tarfields.Records = []
        self.name = b""
        self.link = b""
        self.where = Where("")
        self.stored = 0  # bytes in the archive
        self.size = 0  # bytes of the file
        self.map_size = 0  # bytes of a sparse map that stands before the content

    def complete(self, block: bytes, global_records: dict[bytes, bytes]) -> None:
        """An empty value takes a record back (POSIX pax)."""
        self.block = block
        if self.records or global_records:
            self.pax = {key: value for key, value in {**global_records, **dict(self.records)}.items() if value}

    def raw_name(self) -> bytes:
        name = self.pax.get(b"GNU.sparse.name") or self.pax.get(b"path") or self.name
        if name:
            return name
        name = tarfields.text(self.block[:100])
        # GNU's own format keeps times where ustar has the prefix.
        prefix = tarfields.text(self.block[345:500]) if self.block[257:263] == b"ustar\0" else b""
        return prefix + b"/" + name if prefix else name

    def kind(self, raw_name: bytes) -> Kind:
        flag = self.block[156:157]
        if flag not in _KINDS:
            raise errors.LayerError(f"{self.where} has the type {flag!r}, which no layer may hold")
        return Kind.DIR if flag == b"\0" and raw_name.endswith(b"/") else _KINDS[flag]

    def read_sizes(self, kind: Kind) -> None:
        """Only files have content, whatever the field says of other kinds (as Go's reader and GNU tar have it)."""
        stored = _size(self.block, self.where)
        if b"size" in self.pax:
            stored = tarfields.decimal(self.pax[b"size"], "size", self.where)
        if not 0 <= stored < 1 << 62:
            raise errors.LayerError(f"{self.where} has an impossible size of {stored}")
        self.stored = self.size = stored if kind is Kind.FILE or self.block[156:157] == b"D" else 0

    def segments(self, source: Source) -> tarfields.Segments | None:
        """A sparse file's map, whichever of the four formats it has; None for a plain file. Sets `size`."""
        if self.block[156:157] == b"S":
            return self._old_gnu(source)
        if self.pax.get(b"GNU.sparse.major") == b"1":
            self.size = self._sparse_size()
            return self._leading_map(source)
        if b"GNU.sparse.map" in self.pax:
            self.size = self._sparse_size()
            return tarfields.listed_sparse(self.pax[b"GNU.sparse.map"], self.where)
        if b"GNU.sparse.size" in self.pax or b"GNU.sparse.numblocks" in self.pax:
            self.size = self._sparse_size()
            numbers = [value for key, value in self.records if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
            return tarfields.listed_sparse(b",".join(numbers), self.where)
        return None

    def _sparse_size(self) -> int:
        value = self.pax.get(b"GNU.sparse.realsize") or self.pax.get(b"GNU.sparse.size") or b""
        return tarfields.decimal(value, "GNU.sparse.realsize", self.where)

    def _old_gnu(self, source: Source) -> tarfields.Segments:
        self.size = tarfields.number(self.block[483:495], "real size", self.where)
        segments = tarfields.old_gnu_sparse(self.block[386:482], self.where)
        more = self.block[482]
        while more:
            block = source.read(tarheader.BLOCK)
            if len(block) != tarheader.BLOCK:
                raise cut_short(self.where)
            segments += tarfields.old_gnu_sparse(block[:504], self.where)
            more = block[504]
            if len(segments) > 1 << 20:
                raise errors.LayerError(f"{self.where} is a sparse file of too many pieces")
        return segments

    def _leading_map(self, source: Source) -> tarfields.Segments:
        """Format 1.0: decimal lines in whole blocks before the data: how many pieces, offset and length of each."""
        lines: list[bytes] = []
        rest = b""
        while len(lines) < 1 or len(lines) < 1 + 2 * self._pieces(lines[0]):
            if self.map_size + tarheader.BLOCK > self.stored:
                raise cut_short(self.where)
            block = source.read(tarheader.BLOCK)
            if len(block) != tarheader.BLOCK:
                raise cut_short(self.where)
            self.map_size += tarheader.BLOCK
            *whole, rest = (rest + block).split(b"\n")
            lines += whole
        numbers = lines[1 : 1 + 2 * self._pieces(lines[0])]
        return tarfields.listed_sparse(b",".join(numbers), self.where)

    def _pieces(self, line: bytes) -> int:
        pieces = tarfields.decimal(line, "number of sparse pieces", self.where)
        if not 0 <= pieces <= 1 << 20:
            raise errors.LayerError(f"{self.where} is a sparse file of too many pieces")
        return pieces

    def entry(self, path: bytes, kind: Kind, size: int) -> Entry:
        device = kind in (Kind.CHAR, Kind.BLOCK)
        return Entry(
            path,
            kind,
            tarfields.number(self.block[100:108], "mode", self.where) & 0o7777,
            self._owner(b"uid", slice(108, 116)),
            self._owner(b"gid", slice(116, 124)),
            self._time(),
            size,
            self._link(kind),
            self._device("major", slice(329, 337), _MAX_MAJOR) if device else 0,
            self._device("minor", slice(337, 345), _MAX_MINOR) if device else 0,
            self._xattrs(),
        )

    def _owner(self, key: bytes, place: slice) -> int:
        name = key.decode()
        value = self.pax.get(key)
        owner = (
            tarfields.number(self.block[place], name, self.where)
            if value is None
            else tarfields.decimal(value, name, self.where)
        )
        if not 0 <= owner <= _MAX_ID:
            raise errors.LayerError(f"{self.where} has the impossible {name} {owner}")
        return owner

    def _device(self, name: str, place: slice, most: int) -> int:
        value = tarfields.number(self.block[place], name, self.where)
        if not 0 <= value <= most:
            raise errors.LayerError(f"{self.where} has the device number {name} {value}, which Linux does not have")
        return value

    def _time(self) -> int:
        value = self.pax.get(b"mtime")
        time = (
            tarfields.number(self.block[136:148], "mtime", self.where)
            if value is None
            else tarfields.decimal(value, "mtime", self.where)
        )
        if abs(time) > _MAX_TIME:
            raise errors.LayerError(f"{self.where} has an impossible time")
        return time

    def _link(self, kind: Kind) -> bytes:
        if kind not in (Kind.SYMLINK, Kind.HARDLINK):
            return b""
        link = self.pax.get(b"linkpath") or self.link or tarfields.text(self.block[157:257])
        if kind is Kind.HARDLINK:
            return tarfields.link_target(link, self.where)
        if not link or len(link) > paths.MAX_PATH or b"\0" in link:
            raise errors.LayerError(f"{self.where} is a symbolic link with an empty or impossible text")
        return link

    def _xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        if not self.records:
            return ()
        found = {key[len(tarheader.XATTR) :]: value for key, value in self.records if key.startswith(tarheader.XATTR)}
        return tuple(sorted((key, value) for key, value in found.items() if key and not paths.is_foreign_xattr(key)))
