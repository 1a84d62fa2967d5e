"""The records of earlier builds; without them a build is slower, never wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from strata_builder import contract, errors
from strata_builder.engine import artifact, records
from strata_builder.frozen import replace
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.pod import asked
from strata_builder.registry.registries import Registries

Note = Callable[[str], None]


class Found(NamedTuple):
    """Records, and for the digest of each blob that they name the (registry, repository) that has it."""

    records: records.Records
    places: Mapping[str, tuple[str, str]]


def found(request: contract.BuildRequest, registries: Registries, note: Note) -> Found:
    """For the one platform of a pod that runs steps. What an earlier attempt failed for is not in it."""
    read_ = read(request, asked.platform_of(request), registries, note)
    return Found(_present(read_, registries), read_.places) if request.build.attempt > 1 else read_


def read(request: contract.BuildRequest, platform: Platform, registries: Registries, note: Note) -> Found:
    """Nothing where the cache is off."""
    if request.cache.mode == "None" or request.cache.no_cache:
        return Found(records.Records(), {})
    places = [(request.output.registry, request.output.repository, artifact.tag(platform))]
    places += [_place(text, platform) for text in request.cache.sources]
    whole, where = records.Records(), dict[str, tuple[str, str]]()
    for host, repository, tag in reversed(places):
        try:
            read_ = artifact.read(registries.get(host), repository, tag)
        except errors.BuildError as e:
            note(f"the cache at {host}/{repository}:{tag} is not used: {e.message}")
            continue
        whole = whole.merged(read_)
        where.update({blob.digest: (host, repository) for blob in read_.blobs()})
    return Found(whole, where)


def _present(read_: Found, registries: Registries) -> records.Records:
    """Without layers that are gone from their registry: asked only when an earlier attempt failed."""

    def is_there(record: records.Record) -> bool:
        if record.layer is None:
            return True
        host, repository = read_.places[record.layer.descriptor.digest]
        return registries.get(host).has_blob(repository, record.layer.descriptor.digest, record.layer.descriptor.size)

    steps = {key: record for key, record in read_.records.steps.items() if is_there(record)}
    return replace(read_.records, steps=steps)


def _place(text: str, platform: Platform) -> tuple[str, str, str]:
    """A source of `cache.from`: a repository (its cache for this platform), or a reference with a tag of its own."""
    reference = Reference.parse(text)
    tag = (
        reference.tag
        if reference.tag and reference.tag.startswith(contract.CACHE_TAG_PREFIX)
        else artifact.tag(platform)
    )
    return reference.host, reference.repository, tag
