"""The records of this build, for the next ones; without them a build is slower, never wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from strata_builder import contract, errors
from strata_builder.engine import artifact, recording, records
from strata_builder.frozen import replace
from strata_builder.layers.index import Index
from strata_builder.oci.platform import Platform
from strata_builder.pod import publish
from strata_builder.registry.registries import Registries

_DAY: Final = 86_400
Note = Callable[[str], None]


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
        recording.write(
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
