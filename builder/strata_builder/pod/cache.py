"""The records of earlier builds, read and written; without them a build is slower, never wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from strata_builder import contract, errors
from strata_builder.engine import artifact, records
from strata_builder.frozen import replace
from strata_builder.layers.index import Index
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.pod import publish
from strata_builder.registry.registries import Registries

_DAY: Final = 86_400
Note = Callable[[str], None]


def read(
    request: contract.BuildRequest, platform: Platform, registries: Registries, note: Note
) -> tuple[records.Records, dict[str, tuple[str, str]]]:
    """The records, and for the digest of each blob that they name the (registry, repository) that has it. None where the
    cache is off."""
    if request.cache.mode == "None" or request.cache.no_cache:
        return records.Records(), {}
    places = [(request.output.registry, request.output.repository, artifact.tag(platform))]
    places += [_place(text, platform) for text in request.cache.sources]
    found, where = records.Records(), dict[str, tuple[str, str]]()
    for host, repository, tag in reversed(places):
        try:
            read_ = artifact.read(registries.get(host), repository, tag)
        except errors.BuildError as e:
            note(f"the cache at {host}/{repository}:{tag} is not used: {e.message}")
            continue
        found = found.merged(read_)
        where.update({blob.digest: (host, repository) for blob in read_.blobs()})
    return found, where


def present(found: records.Records, where: Mapping[str, tuple[str, str]], registries: Registries) -> records.Records:
    """`found` without layers that are gone from their registry: asked only when an earlier attempt failed."""

    def is_there(record: records.Record) -> bool:
        if record.layer is None:
            return True
        host, repository = where[record.layer.descriptor.digest]
        return registries.get(host).has_blob(repository, record.layer.descriptor.digest, record.layer.descriptor.size)

    return replace(found, steps={key: record for key, record in found.steps.items() if is_there(record)})


def write(
    request: contract.BuildRequest,
    platform: Platform,
    registries: Registries,
    made: records.Records,
    contents: Mapping[str, Index],
    pushed: publish.Pushed,
    read_: records.Records,
    note: Note,
) -> None:
    """Writes what this build used and `made`, and the manifest that it pushed: who missed the result finds it there.

    `read_` is what `read` gave. Where it has all, and the image was there before, nothing is written: to do this build
    again takes no longer than to look up what came of it.
    """
    build, today = request.build, int(time.time()) // _DAY
    kept = request.cache.mode != "None"
    number = {f"{build.uid}/{build.number}/{build.attempt}/{platform}": pushed.descriptor.digest}
    if kept:
        made = replace(made, steps=records.used_today(made.steps.items(), today), builds=number)
    else:
        made = records.Records(builds=number)
    alone = not request.cache.no_cache and not request.cache.sources
    output = request.output
    try:
        artifact.write(
            registries.get(output.registry),
            output.repository,
            artifact.tag(platform),
            made,
            today=today,
            max_age=request.cache.max_age_seconds // _DAY,
            max_size=request.cache.max_size_bytes,
            contents=contents if kept else {},
            seen=read_ if kept and alone and pushed.found else None,
            note=note,
        )
    except errors.BuildError as e:
        note(f"the cache could not be written: {e.message}")


def _place(text: str, platform: Platform) -> tuple[str, str, str]:
    """A source of `cache.from`: a repository (its cache for this platform), or a reference with a tag of its own."""
    reference = Reference.parse(text)
    tag = (
        reference.tag
        if reference.tag and reference.tag.startswith(contract.CACHE_TAG_PREFIX)
        else artifact.tag(platform)
    )
    return reference.host, reference.repository, tag
