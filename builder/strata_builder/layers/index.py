"""A layer's table of contents: enough to resolve paths, owners and users without the layer's bytes.

Of an entry there is its name, beside those of its directory (`names`), and a row (`rows`): some 120 bytes. An
`Entry` is made when asked for. `indexfile` is how it is kept.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Self

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import names, paths, record, rows

#: How the files are called whose text an index holds, so that names of users resolve without the layer: also where
#: /etc/passwd is a link to one of them.
TEXTS: Final = (b"passwd", b"group")
MAX_TEXT: Final = 1 << 20
MAX_ENTRIES: Final = 2_000_000
MAX_ENCODED: Final = 512 << 20


class Index:
    """The entries of one layer, in the order of a walk; a hard link carries the metadata, size and digest of its file.

    `whiteouts` are paths that it hides, `opaque` directories whose lower content it hides, `texts` the content of those
    of its files that are called so.
    """

    __slots__ = ("_linked", "_names", "_rows", "encoded", "opaque", "texts", "whiteouts")

    def __init__(
        self,
        names: names.Names,
        rows: rows.Rows,
        whiteouts: Iterable[bytes],
        opaque: Iterable[bytes],
        texts: Mapping[bytes, bytes],
    ) -> None:
        self._names, self._rows = names, rows
        self._linked: frozenset[bytes] | None = None
        self.whiteouts = tuple(sorted(whiteouts, key=paths.order))
        self.opaque = tuple(sorted(opaque, key=paths.order))
        self.texts = dict(texts)
        self.encoded: bytes | None = None  # as `indexfile` has read it

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Entry]:
        return (self._rows.entry(number, path) for path, number in self._names.walk())

    def __contains__(self, path: bytes) -> bool:
        return self._names.find(path) is not None

    def paths(self) -> Iterator[bytes]:
        """Each directory's together: not in the order of a walk, in which entries come."""
        return iter(self._names)

    def below(self, folder: bytes) -> Iterator[bytes]:
        """The paths below `folder`, as from `paths`."""
        return self._names.below(folder)

    def pieces(self) -> Iterator[bytes]:
        """Names and entries as they are kept."""
        yield from self._names.pieces()
        yield from self._rows.pieces()

    def of_kind(self, kind: Kind) -> Iterator[Entry]:
        """In the order of a walk."""
        wanted = frozenset(self._rows.of_kind(kind))
        found = self._names.walk() if wanted else iter(())
        return (self._rows.entry(number, path) for path, number in found if number in wanted)

    def kind(self, path: bytes) -> Kind | None:
        """What `lookup` would tell of it, for a third of the time."""
        number = self._names.find(path)
        return None if number is None else self._rows.kind(number)

    def lookup(self, path: bytes) -> Entry | None:
        """The entry as the layer holds it; None if the layer says nothing of `path`."""
        number = self._names.find(path)
        return None if number is None else self._rows.entry(number, path)

    def shown(self, path: bytes) -> Entry | None:
        """The entry as an unpacked layer shows it: a hard link is a file."""
        entry = self.lookup(path)
        if entry is None or entry.kind is not Kind.HARDLINK:
            return entry
        return entry._replace(kind=Kind.FILE, link=b"")

    def has_links(self, path: bytes) -> bool:
        """Whether a hard link of the layer names `path`."""
        if self._linked is None:
            links = self._rows.of_kind(Kind.HARDLINK)
            self._linked = frozenset(self._rows.entry(number, b"").link for number in links)
        return path in self._linked

    def children(self, folder: bytes) -> list[bytes]:
        """The names, sorted, that this layer holds directly or indirectly in `folder`."""
        return self._names.children(folder)

    def has_below(self, folder: bytes) -> bool:
        return self._names.has_below(folder)

    def implies(self, path: bytes) -> bool:
        """Whether it is a directory that the layer uses without holding it, as all use the root."""
        return self._names.implies(path)

    def hides(self, path: bytes) -> bool:
        """Whether nothing that lower layers have at `path` shows through, by a whiteout of it or of what is above it,
        or by an opaque directory."""
        above = (b"", *paths.parents(path)) if path else ()
        return _holds(self.whiteouts, path) or any(
            _holds(self.opaque, folder) or _holds(self.whiteouts, folder) for folder in above
        )

    def consistent(self) -> Self:
        """Itself. Raises LayerError where an entry stands below one that is no directory."""
        for number in self._names.held:
            kind = self._rows.kind(number)
            if kind is not Kind.DIR:
                above = self._names.path(number)
                raise below_no_directory(paths.join(above, self._names.children(above)[0]), above, kind)
        return self


class Folders:
    """Counts the directories that paths go through: a few long names may stand for millions of them."""

    def __init__(self) -> None:
        self._count = self._size = 0

    def add(self, folder: bytes) -> None:
        self._count += 1
        self._size += len(folder)
        if self._count > MAX_ENTRIES or self._size > MAX_ENCODED:
            raise errors.LayerError(
                f"its paths go through too many directories (at {paths.show(folder)})",
                hint="the layer was made to exhaust whoever unpacks it, or by a tool that failed",
            )


class Builder:
    """Collects entries in any order; of two with one path the later counts, as in tar."""

    def __init__(self) -> None:
        self._folders: dict[bytes, dict[bytes, bytes]] = {}  # of each directory the records of what is in it, by name
        self._whiteouts: set[bytes] = set()
        self._opaque: set[bytes] = set()
        self._texts: dict[bytes, bytes] = {}
        self._size = 0
        self._finished: Index | None = None

    def __contains__(self, path: bytes) -> bool:
        return self._record(path) is not None or (self._finished is not None and path in self._finished)

    def add(self, entry: Entry, text: bytes | None = None) -> None:
        """`text` is the content, if `keeps_text` says so.

        Raises LayerError for a hard link to what the layer does not hold before it, and for a layer whose names and
        attributes take too much memory."""
        packed = record.pack(self._completed(entry) if entry.kind is Kind.HARDLINK else entry)
        folder, _, name = entry.path.rpartition(b"/")
        inside = self._folders.get(folder)
        if inside is None:
            inside = self._folders[folder] = {}
        before = inside.get(name)
        self._size += len(packed) + len(entry.path) if before is None else len(packed) - len(before)
        if self._size > MAX_ENCODED:
            raise errors.LayerError(
                f"its names, links and attributes have more than {MAX_ENCODED >> 20} MiB",
                hint="the layer was made to exhaust whoever reads it, or by a tool that failed",
            )
        inside[name] = packed
        if self._texts:
            self._texts.pop(entry.path, None)
        if text is not None:
            self._texts[entry.path] = text

    def lookup(self, path: bytes) -> Entry | None:
        if self._finished is not None:
            return self._finished.lookup(path)
        found = self._record(path)
        return None if found is None else record.unpack(path, found)

    def _record(self, path: bytes) -> bytes | None:
        folder, _, name = path.rpartition(b"/")
        inside = self._folders.get(folder)
        return None if inside is None else inside.get(name)

    def _completed(self, entry: Entry) -> Entry:
        """A hard link with what its file has; one to a link or a device is another of its kind, as it will look."""
        target = self.lookup(entry.link)
        if target is None or target.kind is Kind.DIR or entry.link == entry.path:
            raise errors.LayerError(
                f"entry {paths.show(entry.path)} is a hard link to {paths.show(entry.link)}, which is no file that "
                "stands before it in the same layer",
                hint="no unpacker can write it; the tool that made this layer or archive has to be asked",
            )
        if target.kind is Kind.FILE:
            return target._replace(path=entry.path, kind=Kind.HARDLINK, link=entry.link)
        return target._replace(path=entry.path)

    def hide(self, path: bytes) -> None:
        self._whiteouts.add(path)

    def hide_below(self, folder: bytes) -> None:
        self._opaque.add(folder)

    def finish(self) -> Index:
        """The index, which holds from now on what was added, so that there is only one of it.

        Raises LayerError where an entry stands below one that is no directory, and for paths that go through too many
        directories."""
        found = names.Names.of_folders(self._folders, Folders().add)
        held = rows.Rows.of_records(self._drained(found))
        self._finished = Index(found, held, self._whiteouts, self._opaque, self._texts)
        return self._finished.consistent()

    def _drained(self, found: names.Names) -> Iterator[bytes]:
        """The records in the order of `found`. Each is forgotten: with a million of them there is no room for two."""
        for folder, inside in found.folders():
            records = self._folders.pop(folder, {})
            yield from map(records.pop, inside)


def _holds(sorted_paths: Sequence[bytes], path: bytes) -> bool:
    at = bisect.bisect_left(sorted_paths, paths.order(path), key=paths.order)
    return at < len(sorted_paths) and sorted_paths[at] == path


def keeps_text(entry: Entry) -> bool:
    """Whether an index holds the content of this file: not of programs of that name."""
    return entry.path.endswith(TEXTS) and is_text(entry.path) and entry.size <= MAX_TEXT and not entry.mode & 0o111


def is_text(path: bytes) -> bool:
    """Whether it is called so."""
    return path.rpartition(b"/")[2] in TEXTS


def below_no_directory(path: bytes, parent: bytes, kind: Kind) -> errors.LayerError:
    names = {Kind.SYMLINK: "symbolic link", Kind.HARDLINK: "hard link", Kind.FILE: "file", Kind.FIFO: "pipe"}
    return errors.LayerError(
        f"entry {paths.show(path)} stands below {paths.show(parent)}, which the same layer makes a "
        f"{names.get(kind, 'device')}",
        hint="no unpacker can write it; the tool that made this layer or archive has to be asked",
    )
