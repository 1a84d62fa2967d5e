"""The logs of an ImageBuild in its repository: one artifact under one tag, a layer an attempt.

To keep one more is a new manifest under the same tag; what falls out is named by no manifest any more, and is freed by
the registry's own collection. So the number of tags does not grow, and no right to delete is needed: where it is given,
the former manifest is deleted, for some collections keep what has no tag.
"""

from __future__ import annotations

import functools
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterable
from typing import BinaryIO, Final

from strata_builder import errors as build_errors
from strata_builder.frozen import frozen
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import mediatypes
from strata_builder.oci.image import Descriptor, Manifest, describe
from strata_builder.oci.manifest import parse_manifest
from strata_builder.registry import errors
from strata_builder.registry.client import Registry
from strata_builder.registry.manifests import ManifestBytes

CONFIG_TYPE: Final = "application/vnd.strata.log.v1+json"
LAYER_TYPE: Final = "application/vnd.strata.log.v1.text+gzip"
NUMBER: Final = "build.strata.log.number"
ATTEMPT: Final = "build.strata.log.attempt"
RESULT: Final = "build.strata.log.result"
CREATED: Final = "org.opencontainers.image.created"
IMAGEBUILD: Final = "build.strata.log.imagebuild"
MAX_TEXT: Final = 4 << 20  # bytes of one log, unpacked: more than all containers of a pod may leave
MAX_BLOB: Final = 2 << 20
ATTEMPTS: Final = 11  # kept of one build, the newest
MAX_LOGS: Final = 64
MAX_SIZE: Final = 16 << 20  # bytes of all logs together
TRIES: Final = 3
_CONFIG: Final = b"{}"  # always the same, so that it is sent once
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
Note = Callable[[str], None]


@frozen
class Entry:
    """The log of one attempt: `result` is Succeeded or Failed, `time` RFC 3339."""

    number: int
    attempt: int
    result: str
    time: str
    blob: Descriptor


def made(number: int, attempt: int, result: str, time: str, data: bytes) -> Entry:
    """The entry of the packed log `data`."""
    notes = {NUMBER: str(number), ATTEMPT: str(attempt), RESULT: result, CREATED: time}
    found = describe(data, LAYER_TYPE)
    blob = Descriptor(LAYER_TYPE, found.digest, found.size, annotations=tuple(sorted(notes.items())))
    return Entry(number, attempt, result, time, blob)


def pack(lines: Iterable[str]) -> bytes:
    """The same lines give the same bytes."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(f"{line}\n".encode("utf-8", "replace")) for line in lines), packer.flush()])


def unpack(data: bytes) -> list[str]:
    """Lines of a packed log, at most MAX_TEXT bytes of them. Raises LayerError for what is no gzip."""
    try:
        text = zlib.decompressobj(31).decompress(data, MAX_TEXT)
    except zlib.error as e:
        raise build_errors.LayerError(f"the log is damaged: {e}") from e
    return text.decode("utf-8", "replace").removesuffix("\n").split("\n")


def entries(registry: Registry, repository: str, tag: str) -> tuple[Entry, ...]:
    """What is kept under `tag`, the newest first. Raises NotFound, LayerError or ImageInvalid for
    another artifact, RegistryError."""
    return _entries(registry.manifest(repository, tag), f"{registry.host}/{repository}:{tag}")


def lines(registry: Registry, repository: str, entry: Entry) -> list[str]:
    """The log itself, verified against its digest. Raises NotFound, LayerError, RegistryError."""
    return unpack(registry.blob_bytes(repository, entry.blob, limit=MAX_BLOB))


def add(
    registry: Registry,
    repository: str,
    tag: str,
    new: Entry,
    data: bytes,
    *,
    keep: Collection[int],
    imagebuild: str,
    note: Note = lambda _: None,
) -> None:
    """Puts the log `data` beside those of the builds in `keep`. One writer at a time a tag. Raises RegistryError."""
    before = _found(registry, repository, tag)
    there = _there(before, tag)
    registry.upload_blob(repository, new.blob, functools.partial(_bytes, data), check=False)
    lost: set[str] = set()
    for attempt in range(TRIES):
        kept = select([new, *(e for e in there if e.blob.digest not in lost)], {new.number, *keep})
        if before is None or attempt:
            registry.upload_blob(repository, describe(_CONFIG, CONFIG_TYPE), functools.partial(_bytes, _CONFIG))
        manifest = Manifest(
            describe(_CONFIG, CONFIG_TYPE),
            tuple(entry.blob for entry in kept),
            mediatypes.OCI_MANIFEST,
            ((IMAGEBUILD, imagebuild),),
        )
        try:
            put = registry.put_manifest(repository, tag, manifest.to_bytes(), manifest.media_type)
        except errors.BlobsUnknown as e:
            if attempt == TRIES - 1:
                raise
            lost |= {*e.digests} - {new.blob.digest} or {entry.blob.digest for entry in there}
        else:
            return _forget(registry, repository, before, put.digest, note)
    raise AssertionError("unreachable")


def select(found: Iterable[Entry], numbers: Collection[int]) -> tuple[Entry, ...]:
    """What is kept of `found`, in which the first of two of one attempt counts: the newest attempts of the builds
    `numbers`, within the limits. Pure."""
    unique: dict[tuple[int, int], Entry] = {}
    for entry in found:
        unique.setdefault((entry.number, entry.attempt), entry)
    kept: list[Entry] = []
    room = MAX_SIZE
    for key in sorted(unique, reverse=True):
        entry = unique[key]
        if entry.number not in numbers or sum(e.number == entry.number for e in kept) >= ATTEMPTS:
            continue
        room -= entry.blob.size
        if kept and (room < 0 or len(kept) >= MAX_LOGS):
            break
        kept.append(entry)
    return tuple(kept)


def _found(registry: Registry, repository: str, tag: str) -> ManifestBytes | None:
    try:
        return registry.manifest(repository, tag)
    except errors.NotFound:
        return None


def _there(before: ManifestBytes | None, name: str) -> tuple[Entry, ...]:
    """Of what cannot be read nothing is kept."""
    if before is None:
        return ()
    try:
        return _entries(before, name)
    except (build_errors.LayerError, oci_errors.ImageInvalid):
        return ()


def _forget(registry: Registry, repository: str, before: ManifestBytes | None, now: str, note: Note) -> None:
    if before is None or before.digest == now:
        return
    try:
        registry.delete_manifest(repository, before.digest)
    except errors.RegistryError as e:
        note(f"the former list of logs stays in the registry until it collects: {e.message}")


def _entries(found: ManifestBytes, name: str) -> tuple[Entry, ...]:
    manifest = parse_manifest(found.data, found.media_type, name=name)
    if manifest.config.media_type != CONFIG_TYPE:
        raise build_errors.LayerError(f"{name} holds no logs, but {manifest.config.media_type[:100]}")
    return tuple(entry for blob in manifest.layers if (entry := _entry(blob)))


def _entry(blob: Descriptor) -> Entry | None:
    notes = dict(blob.annotations)
    numbers = [text for name in (NUMBER, ATTEMPT) if _DIGITS.fullmatch(text := notes.get(name, ""))]
    if blob.media_type != LAYER_TYPE or len(numbers) != 2 or not 0 < blob.size <= MAX_BLOB:
        return None
    return Entry(int(numbers[0]), int(numbers[1]), notes.get(RESULT, ""), notes.get(CREATED, ""), blob)


def _bytes(data: bytes) -> BinaryIO:
    return io.BytesIO(data)
