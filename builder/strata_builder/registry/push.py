"""An image into a registry, in the order that never shows a half: base blobs by mount or HEAD, new blobs side by side,
config, manifest, tag."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterable, Mapping
from typing import BinaryIO, Final

from strata_builder.oci import digest as digests
from strata_builder.oci import image, manifest, mediatypes
from strata_builder.registry import errors
from strata_builder.registry.client import Registry
from strata_builder.registry.lists import referrers_tag
from strata_builder.registry.manifests import PutResult

#: Gives what opens a blob at its first byte, or None if the blob is not at hand (then the registry must have it).
Blobs = Callable[[image.Descriptor], "Callable[[], BinaryIO] | None"]

WORKERS: Final = 4


def push_image(
    registry: Registry,
    repository: str,
    image_: image.Image,
    blobs: Blobs,
    *,
    mount_from: Mapping[digests.Digest, str] | None = None,
    present: Container[digests.Digest] = (),
    version: str = "",
    workers: int = WORKERS,
) -> image.Descriptor:
    """Pushes layers, config and manifest, the manifest by its digest, or as the tag `version`. Returns the manifest's
    descriptor.

    `mount_from` tells for a blob's digest another repository of this registry that has it. Blobs in `present` are not
    asked about, for they are there, as far as the manifest's PUT does not say otherwise. Raises BlobsUnknown with the
    digests that the registry lacks and `blobs` cannot open, before anything names them.
    """
    layers = tuple(dict.fromkeys(layer.descriptor for layer in image_.layers))
    config = image_.config_bytes()
    opened = _with_config(blobs, image_.config_descriptor, config)
    asked = [layer for layer in layers if layer.digest not in present]
    push_blobs(registry, repository, asked, opened, mount_from=mount_from, workers=workers)
    push_blobs(registry, repository, (image_.config_descriptor,), opened)
    data, media_type = image_.manifest_bytes(), image_.manifest.media_type
    version = version or digests.of(data)
    try:
        return put(registry, repository, version, data, media_type)
    except errors.BlobsUnknown as e:
        lost = [d for d in (*layers, image_.config_descriptor) if not e.digests or d.digest in e.digests]
        push_blobs(registry, repository, lost, opened, mount_from=mount_from, check=False, workers=workers)
        return put(registry, repository, version, data, media_type)


def push_blobs(
    registry: Registry,
    repository: str,
    descriptors: Iterable[image.Descriptor],
    blobs: Blobs,
    *,
    mount_from: Mapping[digests.Digest, str] | None = None,
    check: bool = True,
    workers: int = WORKERS,
) -> None:
    """Makes the registry have these blobs, some at a time. `check=False` believes no HEAD: for blobs that a manifest's
    PUT found missing.

    After the first failure no further blob is begun. Raises that failure, or BlobsUnknown for blobs that are nowhere.
    """
    wanted = list(dict.fromkeys(descriptors))
    sources = mount_from or {}

    def push_one(descriptor: image.Descriptor) -> image.Descriptor | None:
        source = sources.get(descriptor.digest, "")
        # A mount also finds what is there already, so one request does instead of two.
        if source not in ("", repository) and registry.mount_blob(repository, descriptor.digest, source):
            return None
        opener = blobs(descriptor)
        if opener is not None:
            registry.upload_blob(repository, descriptor, opener, check=check)
            return None
        there = check and registry.has_blob(repository, descriptor.digest, descriptor.size)
        return None if there else descriptor

    missing = [d.digest for d in _side_by_side(push_one, wanted, workers) if d is not None]
    if missing:
        raise errors.BlobsUnknown(
            f"{registry.host}/{repository} lacks {len(missing)} blobs that are not at hand: {', '.join(missing[:3])}",
            host=registry.host,
            repository=repository,
            method="HEAD",
            digests=tuple(missing),
        )


def put(registry: Registry, repository: str, version: str, data: bytes, media_type: str) -> image.Descriptor:
    """Stores a manifest or index under a digest or tag. A tag is read back: raises DigestMismatch if it names another."""
    result = registry.put_manifest(repository, version, data, media_type)
    if digests.is_digest(version):
        return image.Descriptor(media_type, result.digest, len(data))
    found = registry.head_manifest(repository, version)
    if found is None or found.digest != result.digest:
        at = "nothing" if found is None else found.digest
        raise errors.DigestMismatch(
            f"pushed {result.digest} to {registry.host}/{repository}:{version}, but {at} is there:"
            " somebody else pushed, or it was collected",
            host=registry.host,
            repository=repository,
            method="HEAD",
        )
    return image.Descriptor(media_type, result.digest, len(data))


def push_referrer(registry: Registry, repository: str, attached: manifest.Manifest) -> PutResult:
    """Stores a manifest with a subject. Where the registry has no referrers API, the fallback tag's index is kept:
    read, add, write.

    That is a race between writers: one process at a time per subject.
    """
    if attached.subject is None:
        raise ValueError("a referrer needs a subject")
    data = attached.to_bytes()
    result = registry.put_manifest(repository, digests.of(data), data, attached.media_type)
    if not result.subject:
        kind = attached.artifact_type or attached.config.media_type
        entry = image.Descriptor(
            attached.media_type, result.digest, len(data), attached.annotations, artifact_type=kind
        )
        _add_to_fallback(registry, repository, attached.subject.digest, entry)
    return result


def _add_to_fallback(registry: Registry, repository: str, subject: digests.Digest, entry: image.Descriptor) -> None:
    tag = referrers_tag(subject)
    try:
        found = registry.manifest(repository, tag)
        old = manifest.parse_index(found.data, found.media_type, name=f"referrers of {subject}").manifests
    except errors.NotFound:
        old = ()
    if any(child.digest == entry.digest for child in old):
        return
    put(registry, repository, tag, manifest.Index((*old, entry)).to_bytes(), mediatypes.OCI_INDEX)


def _with_config(blobs: Blobs, descriptor: image.Descriptor, data: bytes) -> Blobs:
    def opener(wanted: image.Descriptor) -> Callable[[], BinaryIO] | None:
        return (lambda: io.BytesIO(data)) if wanted.digest == descriptor.digest else blobs(wanted)

    return opener


def _side_by_side(
    call: Callable[[image.Descriptor], image.Descriptor | None], items: list[image.Descriptor], workers: int
) -> list[image.Descriptor | None]:
    """The results in the items' order; the first failure cancels what has not begun and is raised when the rest has
    ended."""
    if len(items) < 2 or workers < 2:
        return [call(item) for item in items]
    from concurrent import futures

    with futures.ThreadPoolExecutor(min(workers, len(items)), thread_name_prefix="push") as pool:
        running = [pool.submit(call, item) for item in items]
        done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
        failure = next((f.exception() for f in running if f in done and f.exception() is not None), None)
        if failure is not None:
            pool.shutdown(wait=True, cancel_futures=True)
            raise failure
        return [f.result() for f in running]
