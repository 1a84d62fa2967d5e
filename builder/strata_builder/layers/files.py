"""A few files of a layer, written to where somebody wants them."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import decompress, paths, storage, unpack
from strata_builder.layers.content import digest_of, write_all
from strata_builder.layers.source import Limits
from strata_builder.layers.tarcontent import Content


def extract(
    stream: decompress.Stream,
    media_type: str,
    wanted: Mapping[bytes, Path],
    *,
    limits: Limits = unpack.LIMITS,
) -> None:
    """Writes the contents of the regular files `wanted` (path in the layer -> file to make, mode 0600).

    A hard link gives the content of the file that it names; since that one stands earlier, `stream` is then read again
    and has to be seekable. Of several entries with one path the last counts. Raises LayerError for a path that the
    layer does not hold as a file.
    """
    start = stream.tell() if hasattr(stream, "tell") and wanted else 0
    missing, links = _extract_once(stream, media_type, wanted, limits)
    if missing:
        raise errors.LayerError(f"the layer holds no file {paths.show(min(missing))}")
    linked = {path: target for path, target in links.items() if path in wanted}
    if linked and hasattr(stream, "seek"):
        stream.seek(start)
        _extract_targets(stream, media_type, {path: wanted[path] for path in linked}, linked, limits)
    elif linked:
        raise errors.LayerError(f"{paths.show(next(iter(linked)))} is a hard link, and the stream cannot be read again")


def _extract_once(
    stream: decompress.Stream, media_type: str, wanted: Mapping[bytes, Path], limits: Limits
) -> tuple[set[bytes], dict[bytes, bytes]]:
    """Those of `wanted` that are no files, and of all hard links the file that they lead to."""
    missing = set(wanted)
    links: dict[bytes, bytes] = {}
    for entry, content in unpack.read_layer(stream, media_type, limits=limits):
        if entry.kind is Kind.HARDLINK:
            links[entry.path] = links.get(entry.link, entry.link)
        else:
            links.pop(entry.path, None)
        if entry.path in wanted:
            if entry.kind in (Kind.FILE, Kind.HARDLINK):
                missing.discard(entry.path)
            else:
                missing.add(entry.path)
            if entry.kind is Kind.FILE:
                _save(entry, content, wanted[entry.path])
    return missing, links


def _extract_targets(
    stream: decompress.Stream,
    media_type: str,
    wanted: Mapping[bytes, Path],
    links: Mapping[bytes, bytes],
    limits: Limits,
) -> None:
    """The content that each link's file had when the link was made: entries of one name may follow."""
    users: defaultdict[bytes, dict[bytes, None]] = defaultdict(dict)
    for path, target in links.items():
        users[target][path] = None
    saved: set[bytes] = set()
    for entry, content in unpack.read_layer(stream, media_type, limits=limits):
        if entry.kind is Kind.HARDLINK and entry.path in saved:
            users[links[entry.path]].pop(entry.path, None)
        first, *others = users.get(entry.path) or (None,)
        if entry.kind is Kind.FILE and first is not None:
            _save(entry, content, wanted[first])
            for path in others:
                shutil.copy(wanted[first], wanted[path])
            saved.update((first, *others))
    if not links.keys() <= saved:
        lost = next(path for path in links if path not in saved)
        raise errors.LayerError(f"{paths.show(lost)} is a hard link to what the layer does not hold as a file")


def _save(entry: Entry, content: Content, place: Path) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with storage.full_is_a_limit(place.parent):
            digest_of(entry, content.pieces(), lambda piece: write_all(fd, piece))
    finally:
        os.close(fd)
