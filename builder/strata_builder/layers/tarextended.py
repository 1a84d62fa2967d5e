"""A tar header with all that extends it: pax and GNU records, and the maps of sparse files.

Read as strictly as a layer from a stranger has to be: lengths and numbers are checked, nothing is guessed.
"""

from __future__ import annotations

from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths, tarfields, tarheader
from strata_builder.layers.source import Source
from strata_builder.layers.tarcontent import Where, cut_short

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
_MAX_ID: Final = 2**32 - 2
_MAX_TIME: Final = 2**63 - 1
_MAX_MAJOR: Final = 2**12 - 1  # Linux, include/linux/kdev_t.h
_MAX_MINOR: Final = 2**20 - 1


def size_of(block: bytes, where: Where) -> int:
    """Bytes that follow the header. Raises LayerError."""
    size = tarfields.number(block[124:136], "size", where)
    if size < 0:
        raise errors.LayerError(f"after {where}: a tar header has a negative size")
    return size


class Header:
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
        stored = size_of(self.block, self.where)
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
        if any(b"\0" in key for key in found):
            raise errors.LayerError(f"{self.where} has an extended attribute whose name holds a NUL byte")
        return tuple(sorted((key, value) for key, value in found.items() if key and not paths.is_foreign_xattr(key)))
