"""From the inputs to the engine's plan: the same in each container, for it is a function of what fetch left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from strata_builder import contract, errors
from strata_builder import dockerfile as df
from strata_builder.context import folder
from strata_builder.context.validators import Stored
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import steps
from strata_builder.engine.options import Options
from strata_builder.oci import platform as platforms
from strata_builder.oci.platform import Platform
from strata_builder.pod import exchange, inputs, planfile, remotes, settings
from strata_builder.pod.paths import Paths


def dockerfile(paths: Paths, name: str) -> df.Dockerfile:
    """Raises DockerfileError."""
    return df.parse(exchange.read(paths.inputs / inputs.DOCKERFILE, inputs.MAX_DOCKERFILE), name)


def ignore(paths: Paths) -> df.IgnoreRules:
    """Raises DockerfileError."""
    return df.IgnoreRules.parse(exchange.read(paths.inputs / inputs.IGNORE, inputs.MAX_DOCKERFILE))


def options(
    request: contract.BuildRequest,
    paths: Paths,
    platform: Platform,
    source: contract.SourceResult,
    *,
    secrets: Mapping[str, bytes] | None = None,
    no_cache: bool = False,
    context_time: int | None = None,
) -> Options:
    """What the request asks of one platform's build. Raises DockerfileError for a bad ignore file."""
    return Options(
        context=folder.FolderTree(paths.context, ignore(paths)),
        platform=platform,
        build_platform=platforms.host(),
        target=request.target,
        build_args=dict(request.args),
        labels=dict(request.labels),
        secrets=secrets or {},
        context_time=context_time,
        source_date_epoch=request.source_date_epoch,
        created=source.time or None,
        no_cache=no_cache,
        network="none" if request.network == "None" else "default",
        compression=request.output.compression.lower(),
    )


def fetcher(request: contract.BuildRequest, paths: Paths, secrets: Mapping[str, bytes]) -> remotes.Fetch:
    """How a pod fetches what ADD names. What knows git and archives is loaded for the first one: most builds have none."""

    def fetch(url: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        from strata_builder.pod import remotefetch

        made = remotefetch.in_pod(request.context_limit_bytes, settings.ca_bundle(paths), paths.scratch, secrets)
        made(url, add, place, stored)

    return fetch


class PlannedImages:
    """An `engine.filescope.Images` that knows what fetch resolved, and nothing else."""

    def __init__(self, bases: tuple[planfile.Base, ...]) -> None:
        self._bases = {(base.name, base.platform): base for base in bases}

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        found = self._bases.get((reference, str(platform)))
        if found is None:
            raise errors.BaseImageNotFound(f"base image {reference} for {platform} is not in the plan")
        return found.resolved()
