"""Layers read: as entries, as an index, or into a directory.

The stream is the blob of a layer, or a plain archive; its compression is told from its bytes. Callers verify the digest
of the blob; here the diffID can be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import decompress, index, paths, readahead, restore, storage, writing
from strata_builder.layers.content import digest_of
from strata_builder.layers.ownership import OwnerPolicy
from strata_builder.layers.recorded import Skipped
from strata_builder.layers.restore import OnEntry
from strata_builder.layers.source import Limits, Source
from strata_builder.layers.tarcontent import Content
from strata_builder.layers.tarreader import TarReader

__all__ = ["Limits", "OwnerPolicy", "Skipped", "contents", "read_layer", "scan", "unpack_to"]

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


def contents(
    stream: decompress.Stream,
    media_type: str,
    built: index.Builder,
    *,
    diff_id: str = "",
    limits: Limits = LIMITS,
) -> Iterator[tuple[Entry, Content]]:
    """As `read_layer`, without the markers, of which `built` is told."""
    for entry, content in read_layer(stream, media_type, limits=limits, diff_id=diff_id):
        if _is_content(entry, built):
            yield entry, content


def scan(
    stream: decompress.Stream, media_type: str = "", diff_id: str | None = None, *, limits: Limits = LIMITS
) -> index.Index:
    """The layer's index, in one pass and without writing anything. Raises LayerError."""
    built = index.Builder()
    for entry, content in contents(stream, media_type, built, diff_id=diff_id or "", limits=limits):
        if entry.kind is Kind.FILE:
            digest, text = digest_of(entry, content.pieces())
            built.add(entry._replace(digest=digest), text)
        else:
            built.add(entry)
    return built.finish()


def _is_content(entry: Entry, built: index.Builder) -> bool:
    """False for a marker, which is noted instead. So is a device 0:0: it is the whiteout of overlay file systems, which
    show nothing there, and a few tools have packed it as it lay there."""
    if entry.kind is not Kind.CHAR and paths.WHITEOUT not in entry.path:
        return True
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
    skip: Callable[[bytes], bool] = restore.nothing,
    on_entry: OnEntry | None = None,
    diff_id: str | None = None,
    limits: Limits = LIMITS,
) -> index.Index:
    """Writes the layer below the directory `root`, and returns its index. No entry can reach outside `root`.

    `overlay` True: `root` becomes one lower directory of an overlay: a whiteout is a device 0:0, a hidden directory has
    `opaque_xattr`. False: `root` holds the layers below, and what this one hides is deleted.
    `owner` says what happens with what the kernel refuses to set; what was left out is appended to `skipped`.
    `lower` looks paths up in the layers below: for directories that the layer uses without holding them (0755, of root,
    time 0 where nobody knows them), and to leave out whiteouts of what was never there, which an overlay would show.
    `copy_links` writes hard links as files of their own. `skip` names paths that are left alone (mount points).
    `on_entry` is told of each path with its final stat; directories come last. `diff_id` is verified at the end.

    Raises LayerError naming the entry, StorageLimitExceeded, OSError.
    """
    options = restore.Options(overlay, owner, opaque_xattr, copy_links, lower, skip, on_entry)
    built = index.Builder()
    told = [] if skipped is None else skipped
    with storage.full_is_a_limit(root), writing.Writing(root, built, options, told) as layer:
        for entry, content in contents(stream, media_type, built, diff_id=diff_id or "", limits=limits):
            layer.entry(entry, content)
        return layer.finish()
