"""Writing the cache artifact: what a build used and made over what others have written meanwhile."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Collection, Mapping
from typing import BinaryIO

from strata_builder import errors as build_errors
from strata_builder.engine import artifact, records
from strata_builder.frozen import replace
from strata_builder.layers import index, indexfile
from strata_builder.oci import digest, mediatypes
from strata_builder.oci import errors as oci_errors
from strata_builder.oci.image import Descriptor, Manifest, describe
from strata_builder.registry import errors
from strata_builder.registry.client import Registry
from strata_builder.registry.push import put

TRIES = 3
Note = Callable[[str], None]


def write(
    registry: Registry,
    repository: str,
    name: str,
    made: records.Records,
    *,
    today: int,
    max_age: int,
    max_size: int,
    contents: Mapping[str, index.Index] | None = None,
    seen: records.Records | None = None,
    note: Note = lambda _: None,
) -> records.Records:
    """`made` merged over what is there now, with the tables of `contents` by layer; records whose layers the registry lost
    are dropped. Raises RegistryError.

    Nothing is asked or written where `seen`, what the artifact held a moment ago, has all of it but `builds` already. A
    table that the registry does not take costs the next build time, no more: `note` hears of it. One that is there and could
    not be used is replaced.
    """
    found = contents or {}
    if seen is not None and not _missing(found, seen):
        needed = _using(replace(made, builds={}), found, seen, today)
        if seen.holds(needed):
            return seen
    lost: set[digest.Digest] = set()
    for attempt in range(TRIES):
        there = _without(_read(registry, repository, name), lost)
        new = _missing(found, there)
        ours = _using(_without(made, lost), found, there, today)
        ours = replace(ours, contents={**ours.contents, **_upload(registry, repository, new, today, note)})
        whole = there.merged(ours).trimmed(today=today, max_age=max_age, max_size=max_size)
        try:
            _put(registry, repository, name, whole)
        except errors.BlobsUnknown as e:
            lost.update(e.digests)
            if attempt == TRIES - 1 or not e.digests:
                raise
        else:
            return whole
    raise AssertionError("unreachable")


def _read(registry: Registry, repository: str, name: str) -> records.Records:
    """What is there; what is damaged or lost is replaced."""
    try:
        return artifact.read(registry, repository, name)
    except (errors.NotFound, build_errors.LayerError, oci_errors.ImageInvalid, oci_errors.DigestMismatch):
        return records.Records()


def _missing(found: Mapping[str, index.Index], there: records.Records) -> dict[str, index.Index]:
    """Those of `found` that are not there as they are to be. One that was read from what is kept is."""
    return {layer: table for layer, table in found.items() if not _is_kept(table, there.contents.get(layer))}


def _is_kept(table: index.Index, held: records.Contents | None) -> bool:
    return held is not None and (table.encoded is not None or held.blob.digest == digest.of(indexfile.encoded(table)))


def _using(
    made: records.Records, found: Mapping[str, index.Index], there: records.Records, today: int
) -> records.Records:
    """`made`, and that the tables that are there were used today."""
    used = {layer: replace(there.contents[layer], used=today) for layer in found if layer in there.contents}
    return replace(made, contents={**made.contents, **used})


def _upload(
    registry: Registry, repository: str, new: Mapping[str, index.Index], today: int, note: Note
) -> dict[str, records.Contents]:
    kept: dict[str, records.Contents] = {}
    for layer, table in new.items():
        data = indexfile.encoded(table)
        blob = describe(data, indexfile.MEDIA_TYPE)
        try:
            registry.upload_blob(repository, blob, functools.partial(_bytes, data), check=False)
            kept[layer] = records.Contents(blob, today)
        except build_errors.BuildError as e:
            note(f"warning: the table of contents of layer {layer} cannot be kept: {e.message}")
    return kept


def _put(registry: Registry, repository: str, name: str, whole: records.Records) -> None:
    data = whole.to_bytes()
    config = describe(data, artifact.MEDIA_TYPE)
    registry.upload_blob(repository, config, lambda: _bytes(data), check=False)
    layers = tuple(_plain(blob) for blob in whole.blobs())
    manifest = Manifest(config, layers, mediatypes.OCI_MANIFEST)
    put(registry, repository, name, manifest.to_bytes(), manifest.media_type)


def _plain(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


def _without(found: records.Records, lost: Collection[digest.Digest]) -> records.Records:
    steps = {k: r for k, r in found.steps.items() if r.layer is None or r.layer.descriptor.digest not in lost}
    contents = {layer: held for layer, held in found.contents.items() if held.blob.digest not in lost}
    return replace(found, steps=steps, contents=contents)


def _bytes(data: bytes) -> BinaryIO:
    return io.BytesIO(data)
