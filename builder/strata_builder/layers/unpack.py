"""Layers read: as entries, as an index, into a directory, or a few files of them.

The stream is the blob of a layer, or a plain archive; its compression is told from its bytes. Callers verify the digest
of the blob; here the diffID can be.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import decompress, index, ownership, paths, places, readahead, restore, settle, storage
from strata_builder.layers.content import NOTHING, Contents, digest_of, write_all
from strata_builder.layers.ownership import OwnerPolicy
from strata_builder.layers.recorded import Skipped
from strata_builder.layers.restore import OnEntry
from strata_builder.layers.source import Limits, Source
from strata_builder.layers.tarcontent import Content
from strata_builder.layers.tarreader import TarReader

__all__ = ["Limits", "OwnerPolicy", "Skipped", "extract", "read_layer", "scan", "unpack_known", "unpack_to"]

LIMITS: Final = Limits()
#: What aufs left in old images: bookkeeping, not content.
_AUFS: Final = b".wh..wh."


def read_layer(
    stream: decompress.Stream,
    media_type: str = "",
    *,
    limits: Limits = LIMITS,
    diff_id: str = "",
    trailer: bool = True,
) -> Iterator[tuple[Entry, Content]]:
    """The entries of a tar in its order, whiteouts under their marker's name, each with its content (empty but for a
    FILE), which has to be read before the next entry is asked for, or is passed over.

    `diff_id` ("sha256:<hex>"), if given, is compared at the end; without it the archive must carry the mark of its end,
    unless `trailer` is False.
    Raises LayerError naming the entry.
    """
    if media_type.endswith("+encrypted"):
        raise errors.LayerError(f"a layer of type {media_type} is encrypted", hint="use an image with plain layers")
    with contextlib.closing(readahead.ahead(decompress.chunks(stream))) as plain:
        source = Source(plain, limits)
        yield from TarReader(source, limits, trailer=trailer and not diff_id)
        source.drain()
    if diff_id and source.digest() != diff_id:
        raise errors.LayerError(
            f"the layer's content has the digest {source.digest()}, but the image's config says {diff_id}",
            hint="the image is damaged, or was put together wrongly: build or push it again",
        )


def scan(
    stream: decompress.Stream, media_type: str = "", diff_id: str | None = None, *, limits: Limits = LIMITS
) -> index.Index:
    """The layer's index, in one pass and without writing anything. Raises LayerError."""
    built = index.Builder()
    for entry, content in read_layer(stream, media_type, limits=limits, diff_id=diff_id or ""):
        if _is_content(entry, built):
            if entry.kind is Kind.FILE:
                digest, text = digest_of(entry, content.pieces())
                built.add(entry._replace(digest=digest), text)
            else:
                built.add(entry)
    return built.finish()


def _is_content(entry: Entry, built: index.Builder) -> bool:
    """False for a marker, which is noted instead. So is a device 0:0: it is the whiteout of overlay file systems, which
    show nothing there, and a few tools have packed it as it lay there."""
    if paths.is_overlay_whiteout(entry):
        built.hide(entry.path)
        return False
    if not paths.has_reserved_name(entry.path):
        return True
    parent, name = paths.split(entry.path)
    if name == paths.OPAQUE:
        built.hide_below(parent)
    elif entry.path.startswith(_AUFS) or b"/" + _AUFS in entry.path:
        return False
    elif paths.has_reserved_name(parent) or name[len(paths.WHITEOUT) :] in (b"", b".", b".."):
        raise errors.LayerError(f"entry {paths.show(entry.path)} is no valid whiteout")
    else:
        built.hide(paths.join(parent, name[len(paths.WHITEOUT) :]))
    return False


def unpack_to(
    stream: decompress.Stream,
    media_type: str,
    root: Path,
    *,
    overlay: bool,
    owner: OwnerPolicy = OwnerPolicy.STRICT,
    skipped: list[Skipped] | None = None,
    opaque_xattr: str = "user.overlay.opaque",
    copy_links: bool = False,
    lower: Callable[[bytes], Entry | None] | None = None,
    skip: Callable[[bytes], bool] = lambda _: False,
    on_entry: OnEntry | None = None,
    diff_id: str | None = None,
    limits: Limits = LIMITS,
    known: index.Index | None = None,
    covered: Collection[bytes] = (),
) -> index.Index:
    """Writes the layer below the directory `root`, and returns its index. No entry can reach outside `root`.

    `overlay` True: `root` becomes one lower directory of an overlay: a whiteout is a device 0:0, a hidden directory has
    `opaque_xattr`. False: `root` holds the layers below, and what this one hides is deleted.
    `owner` says what happens with what the kernel refuses to set; what was left out is appended to `skipped`.
    `lower` looks paths up in the layers below: for directories that the layer uses without holding them (0755, of root,
    time 0 where nobody knows them), and to leave out whiteouts of what was never there, which an overlay would show.
    `copy_links` writes hard links as files of their own. `skip` names paths that are left alone (mount points).
    `on_entry` is told of each path with its final stat; directories come last. `diff_id` is verified at the end.
    `known` is the layer's index where there is one, and `diff_id` proves that it is this layer's: contents are then not
    hashed once more. It is for overlays without `on_entry`. Of paths that are `covered` nothing is written.

    Raises LayerError naming the entry, StorageLimitExceeded, OSError.
    """
    assert known is None or (diff_id and overlay and on_entry is None)
    options = restore.Options(
        overlay, owner, opaque_xattr, copy_links, lower, skip, on_entry, hashes=known is None, covered=covered
    )
    built = index.Builder() if known is None else _Reused(known)
    with storage.full_is_a_limit(root), _Writing(root, built, options, skipped) as writing:
        for entry, content in read_layer(stream, media_type, limits=limits, diff_id=diff_id or ""):
            if _is_content(entry, built):
                writing.entry(entry, content)
        return writing.finish()


def unpack_known(
    known: index.Index,
    root: Path,
    *,
    skipped: list[Skipped],
    lower: Callable[[bytes], Entry | None],
    covered: Collection[bytes],
) -> None:
    """As `unpack_to` with `overlay` and the policy RECORD, from the layer's index alone: but for what is `covered` it
    holds neither files with content nor hard links."""
    options = restore.Options(True, OwnerPolicy.RECORD, lower=lower, hashes=False, covered=covered)
    with storage.full_is_a_limit(root), _Writing(root, _Reused(known), options, skipped) as writing:
        for entry in known:
            writing.entry(entry, NOTHING)
        writing.finish()


class _Reused(index.Builder):
    """Stands for the builder of an index that is there already: it knows what has been told."""

    def __init__(self, known: index.Index) -> None:
        super().__init__()
        self._known = known
        self._told: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        return path in self._told

    def add(self, entry: Entry, text: bytes | None = None) -> None:  # noqa: ARG002
        self._told.add(entry.path)

    def lookup(self, path: bytes) -> Entry | None:
        return self._known.lookup(path) if path in self._told else None

    def finish(self) -> index.Index:
        return self._known


class _Writing:
    """One layer on its way below `root`; what cannot be set there goes to `skipped`."""

    def __init__(
        self, root: Path, built: index.Builder, options: restore.Options, skipped: list[Skipped] | None
    ) -> None:
        self._built, self._options = built, options
        self._ownership = ownership.Ownership(options.owner, [] if skipped is None else skipped)
        self._places = places.Places(root, built, options.skip)
        self._restorer = restore.Restorer(self._places, built, options, self._ownership)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._places.close()

    def entry(self, entry: Entry, content: Contents) -> None:
        if entry.kind is not Kind.FILE:
            self._built.add(entry)
        try:
            digest, text = self._restorer.entry(entry, content)
        except OSError as error:
            error.filename = error.filename or os.fsdecode(entry.path)
            raise
        if entry.kind is Kind.FILE:
            self._built.add(entry._replace(digest=digest) if digest else entry, text)

    def finish(self) -> index.Index:
        contents = self._built.finish()
        settle.settle(self._places, contents, self._options, self._ownership)
        return contents


def extract(
    stream: decompress.Stream,
    media_type: str,
    wanted: Mapping[bytes, Path],
    *,
    limits: Limits = LIMITS,
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
    for entry, content in read_layer(stream, media_type, limits=limits):
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
    for entry, content in read_layer(stream, media_type, limits=limits):
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
