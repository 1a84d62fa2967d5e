"""ADD of an archive: told by its content, never by its name, and unpacked with the owners, modes and times that it holds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import keys, selecting
from strata_builder.entries import Item, Kind, Readable
from strata_builder.layers import decompress, unpack

_BLOCK = 512


class Opener:
    """Called with each source of an ADD. Contents wait in a folder of `scratch` until the layer is packed."""

    def __init__(self, instruction: ins.Instruction, scratch: Path) -> None:
        assert isinstance(instruction, ins.Add)
        self._unpack = instruction.unpack
        self._remote = frozenset(filter(keys.is_remote, instruction.sources))
        self._folder = Path(tempfile.mkdtemp(prefix="archive-", dir=scratch))

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
        found: dict[bytes, Item] = {}
        for number, (entry, content) in enumerate(unpack.read_layer(stream)):
            if entry.kind == Kind.FILE:
                place = self._folder / str(number)
                with place.open("wb") as out:
                    while piece := content.read(1 << 20):
                        out.write(piece)
                entry = replace(entry, digest=_digest(place))
                found[entry.path] = Item(entry, lambda place=place: place.open("rb", buffering=0))  # type: ignore[misc]
            else:
                found[entry.path] = Item(entry)
        return list(found.values())


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
