"""ADD of an archive: told by its content, never by its name, and unpacked with the owners, modes and times that it holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from strata_builder import contents, errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import hardlinks, keys, selecting
from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.layers import decompress, paths, unpack
from strata_builder.layers.tarcontent import Content

_BLOCK = 512


class Opener:
    """Called with each source of an ADD. Contents wait in a folder of `scratch` until the layer is packed."""

    def __init__(self, instruction: ins.Instruction, scratch: Path) -> None:
        assert isinstance(instruction, ins.Add)
        self._unpack = instruction.unpack
        self._remote = frozenset(filter(keys.is_remote, instruction.sources))
        self._scratch = scratch

    def __call__(self, source: selecting.Source) -> list[Item] | None:
        """The archive's entries; None for what is no archive, or is to be taken as it is."""
        if source.entry.kind != Kind.FILE or not self._wanted(source):
            return None
        stream = source.tree.open(source.path)
        try:
            if not _is_tar(stream):
                return None
        finally:
            stream.close()
        stream = source.tree.open(source.path)
        try:
            return self._items(stream)
        except errors.LayerError as e:
            raise errors.LayerError(
                f"the archive {source.name.decode('utf-8', 'replace')!r}: {e.message}", hint=e.hint
            ) from e
        finally:
            stream.close()

    def _wanted(self, source: selecting.Source) -> bool:
        """Local archives are unpacked unless --unpack=false, those from a URL only with --unpack."""
        if self._unpack is not None:
            return self._unpack
        return not getattr(source.tree, "is_remote", False)

    def _items(self, stream: Readable) -> list[Item]:
        """As other programs, this asks for no mark of the end: whoever closes an archive without one has lost nothing."""
        found: dict[bytes, Item] = {}
        links = hardlinks.HardLinks()
        folder = Path(tempfile.mkdtemp(prefix="archive-", dir=self._scratch))
        for number, (entry, content) in enumerate(unpack.read_layer(stream, trailer=False)):
            links.replaced(entry.path)
            if entry.kind == Kind.FILE:
                found[entry.path] = _saved(entry, content, folder / str(number))
            elif entry.kind == Kind.HARDLINK:
                found[entry.path] = _linked(entry, found.get(entry.link))
                if found[entry.path].entry.kind == Kind.FILE:
                    links.link(entry.path, entry.link)
            else:
                found[entry.path] = Item(entry)
        order = {path: number for number, path in enumerate(found)}
        found |= {path: hardlinks.further(found[path], first) for path, first in links.further(order.__getitem__)}
        return list(found.values())


def _saved(entry: Entry, content: Content, place: Path) -> Item:
    digest = contents.hasher()
    with place.open("wb") as out:
        while piece := content.read(1 << 20):
            digest.update(piece)
            out.write(piece)
    return Item(entry._replace(digest=digest.hexdigest()), lambda: place.open("rb", buffering=0))


def _linked(entry: Entry, target: Item | None) -> Item:
    """Another name for what is there by now, whatever takes the first name's place later."""
    if target is None or target.entry.kind == Kind.DIR:
        raise errors.LayerError(
            f"{paths.show(entry.path)} is a hard link to {paths.show(entry.link)}, which is no file that stands before it"
        )
    return target._replace(entry=target.entry._replace(path=entry.path))


def _is_tar(stream: Readable) -> bool:
    """Whether the first block, once decompressed, is a tar header with a right checksum."""
    head = b""
    try:
        for chunk in decompress.chunks(stream):
            head += chunk
            if len(head) >= _BLOCK:
                break
    except errors.LayerError:
        return False  # compressed, and damaged from the start: a file like any other
    return len(head) >= _BLOCK and _is_header(head[:_BLOCK])


def _is_header(block: bytes) -> bool:
    try:
        said = int(block[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return said == sum(block[:148]) + 256 + sum(block[156:])
