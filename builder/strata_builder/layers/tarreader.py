"""Tar as entries with content, in the order of the archive: ustar, pax, GNU, and the tar of Unix V7.

Read as strictly as a layer from a stranger has to be: checksums, lengths and numbers are checked, nothing is guessed.
Names are normalised (`./a`, `/a` and `../a` are all `a`); links keep their text.
"""

from __future__ import annotations

from collections.abc import Iterator

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import paths, tarfields, tarheader, tarplain
from strata_builder.layers.source import Limits, Source
from strata_builder.layers.tarcontent import Content, Where, cut_short
from strata_builder.layers.tarextended import Header, size_of

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
        return entry, Content(self._source, entry.size, self._name), -entry.size % tarheader.BLOCK

    def _extended(self) -> _Found | None:
        """The next entry, whatever its header; None at the end."""
        header = self._header()
        if header is None:
            return None
        entry, content = self._entry(header)
        return entry, content, tarheader.padding(header.stored)

    def _header(self) -> Header | None:
        """The next entry's header with all that extends it; None at the end."""
        header = Header()
        while (block := self._block()) is not None:
            kind = block[156:157]
            size = size_of(block, self._where)
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

    def _entry(self, header: Header) -> tuple[Entry, Content]:
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

    def _content(self, header: Header, kind: Kind, name: bytes) -> Content:
        header.read_sizes(kind)
        if kind is not Kind.FILE:
            return Content(self._source, header.stored, name)
        segments = header.segments(self._source)
        if segments is None:
            return Content(self._source, header.size, name)
        segments = tarfields.checked_segments(segments, header.stored - header.map_size, header.size, header.where)
        self._source.expand(header.size)
        return Content(self._source, header.size, name, segments)
