"""Entries become a layer in one pass: tar, diffID, compression and digest, with memory bounded whatever the size.

The bytes are a function of the entries alone: sorted as a walk, parents before children, a whiteout just before what
replaces it, hard links after the file that they name, no names of owners, whole seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder import contents, errors
from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.frozen import frozen
from strata_builder.layers import compress, index, items, paths, pipeline, storage, tarheader

_SMALL: Final = 64 << 10  # bytes of a file that is read in one piece


@frozen
class PackedLayer:
    """A finished layer. `digest` and `diff_id` are "sha256:<hex>" of the blob and of the tar in it."""

    digest: str
    size: int
    media_type: str
    diff_id: str
    size_uncompressed: int
    blob: Path
    index: index.Index


def pack(
    found: Iterable[Item],
    whiteouts: Iterable[bytes] = (),
    *,
    blob: Path,
    compression: str = "gzip",
    threads: int | None = None,
) -> PackedLayer | None:
    """Writes the layer that holds the items `found` (an `Items` is emptied) and hides `whiteouts` (paths of lower layers)
    to the file `blob`.

    `compression` is "gzip", "zstd" or "none"; `threads` None means one a core. The result is the same for any number.
    A layer that would hold nothing is None, and no file is written. `blob` appears only when it is whole.

    Raises LayerError, naming the entry, for what no layer can hold and for a file that changes while it is read;
    StorageLimitExceeded when the disk is full.
    """
    gathered, hidden = _checked(found), _hidden(whiteouts)
    if not gathered and not hidden:
        return None
    codec = compress.codec(compression)
    with (
        storage.full_is_a_limit(blob.parent),
        _renamed_when_whole(blob) as sink,
        pipeline.Pipeline(codec, sink, threads) as pipe,
    ):
        contents = _write(_steps(gathered, hidden), pipe)
        totals = pipe.finish()
    return PackedLayer(
        digest=f"sha256:{totals.digest}",
        size=totals.size,
        media_type=codec.media_type,
        diff_id=f"sha256:{totals.diff_id}",
        size_uncompressed=totals.size_uncompressed,
        blob=blob,
        index=contents,
    )


def _checked(found: Iterable[Item]) -> items.Items:
    """Those items, with a file and its hard links so named that the first of them in the tar is the file."""
    gathered = found if isinstance(found, items.Items) else _gathered(found)
    for path in paths.unusual(gathered.paths()):
        _check_name(path)
    for path in gathered.of_kind(Kind.CHAR):
        item = gathered.get(path)
        assert item is not None
        _check_kind(item.entry)
    _files_before_links(gathered)
    return gathered


def _gathered(found: Iterable[Item]) -> items.Items:
    gathered = items.Items()
    for item in found:
        if item.entry.path in gathered:
            raise _twice(item.entry.path)
        gathered.put(item)
    return gathered


def _hidden(whiteouts: Iterable[bytes]) -> list[bytes]:
    """Sorted as a tar has them."""
    ordered = sorted(whiteouts, key=paths.order)
    for path in ordered:
        _check_name(path)
    for before, after in itertools.pairwise(ordered):
        if before == after:
            raise _twice(after)
    return ordered


def _twice(path: bytes) -> errors.LayerError:
    return errors.LayerError(f"{paths.show(path)} would be in one layer twice")


def _steps(gathered: items.Items, hidden: list[bytes]) -> Iterator[Item | bytes]:
    """Items and whiteouts in the order of the tar; a whiteout is its path alone, and before what has the same path."""
    at = 0
    for item in gathered.drain():
        if at < len(hidden):
            place = paths.order(item.entry.path)
            while at < len(hidden) and paths.order(hidden[at]) <= place:
                yield hidden[at]
                at += 1
        yield item
    yield from hidden[at:]


def _check_name(path: bytes) -> None:
    if not paths.is_normal(path):
        raise errors.LayerError(f"{paths.show(path)} is not a path relative to the image's root")
    if paths.has_reserved_name(path):
        raise errors.LayerError(
            f"{paths.show(path)} has a name that begins with '.wh.'",
            hint="image layers mark deleted files with this prefix: rename the file, or remove it in the same step",
        )


def _check_kind(entry: Entry) -> None:
    if paths.is_overlay_whiteout(entry):
        raise errors.LayerError(
            f"{paths.show(entry.path)} is the device 0:0",
            hint="overlay file systems mark deleted files with it, so no container could see it: leave it out",
        )


def _files_before_links(gathered: items.Items) -> None:
    """Of a file and its hard links the one that comes first in the tar is the file, whichever the caller chose."""
    groups: dict[bytes, list[bytes]] = {}
    for path in gathered.of_kind(Kind.HARDLINK):
        item = gathered.get(path)
        assert item is not None
        groups.setdefault(item.entry.link, []).append(path)
    for file, links in groups.items():
        first = min(links, key=paths.order)
        if file in gathered and paths.order(first) < paths.order(file):
            link = gathered.pop(first)
            assert link is not None
            gathered.move(file, first)  # with its content and metadata
            gathered.put(Item(link.entry._replace(path=file, link=first)))
            for path in set(links) - {first}:
                gathered.link(path, first)


def _write(steps: Iterable[Item | bytes], pipe: pipeline.Pipeline) -> index.Index:
    built = index.Builder()
    for step in steps:
        if isinstance(step, bytes):
            pipe.write(tarheader.whiteout(step))
            built.hide(step)
        elif step.entry.kind is Kind.FILE:
            _write_file(step, pipe, built)
        else:
            pipe.write(tarheader.header(step.entry))
            built.add(step.entry)
    contents = built.finish()
    pipe.write(tarheader.TRAILER)
    return contents


def _write_file(item: Item, pipe: pipeline.Pipeline, built: index.Builder) -> None:
    entry = item.entry
    write, source = _write_whole if entry.size <= _SMALL else _copy, _opened(item)
    try:
        digest, text = write(entry, source, pipe)
    finally:
        source.close()
    if not entry.digest:
        entry = entry._replace(digest=digest)
    elif digest != entry.digest:
        raise _changed(entry, "its content is no longer what it was when it was compared")
    built.add(entry, text)


def _opened(item: Item) -> Readable:
    if item.open is None:
        raise errors.LayerError(f"{paths.show(item.entry.path)} is a file without content to read")
    try:
        return item.open()
    except PermissionError as error:
        raise errors.LayerError(
            f"{paths.show(item.entry.path)} cannot be read: {error.strerror}",
            hint="make it readable, or exclude it in .dockerignore",
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changed(item.entry, "it is gone") from error


def _write_whole(entry: Entry, source: Readable, pipe: pipeline.Pipeline) -> tuple[str, bytes | None]:
    """As `_copy`, of a small file: one piece with what stands around it."""
    data = source.read(entry.size + 1) or b""
    while len(data) <= entry.size and (more := source.read(entry.size + 1 - len(data))):
        data += more
    _check_size(entry, len(data))
    pipe.write(b"%b%b%b" % (tarheader.header(entry), data, bytes(tarheader.padding(entry.size))))
    return contents.digest(data), data if index.keeps_text(entry) else None


def _copy(entry: Entry, source: Readable, pipe: pipeline.Pipeline) -> tuple[str, bytes | None]:
    """Header and content into the pipe; its digest, and its text where the index keeps it."""
    pipe.write(tarheader.header(entry))
    digest = contents.hasher()
    text = bytearray() if index.keeps_text(entry) else None
    left = entry.size
    while left:
        room = pipe.room()[:left]
        count = source.readinto(room)
        if not count:
            raise _too_short(entry, left)
        digest.update(room[:count])
        if text is not None:
            text += room[:count]
        pipe.advance(count)
        left -= count
    _check_size(entry, entry.size + (source.readinto(bytearray(1)) or 0))
    pipe.write(bytes(tarheader.padding(entry.size)))
    return digest.hexdigest(), bytes(text) if text is not None else None


def _too_short(entry: Entry, left: int) -> errors.LayerError:
    return _changed(entry, f"it ends {left} bytes before its size of {entry.size}")


def _check_size(entry: Entry, found: int) -> None:
    if found < entry.size:
        raise _too_short(entry, entry.size - found)
    if found > entry.size:
        raise _changed(entry, f"it is longer than its size of {entry.size}")


def _changed(entry: Entry, how: str) -> errors.LayerError:
    return errors.LayerError(
        f"{paths.show(entry.path)} changed while it was being read: {how}",
        hint="stop what writes to it, or exclude it in .dockerignore, and build again",
    )


@contextlib.contextmanager
def _renamed_when_whole(blob: Path) -> Iterator[BinaryIO]:
    descriptor, name = tempfile.mkstemp(dir=blob.parent, prefix=f".{blob.name[:100]}.")
    partial = Path(name)
    try:
        with open(descriptor, "wb") as sink:
            yield sink
        partial.chmod(0o644)
        partial.rename(blob)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
