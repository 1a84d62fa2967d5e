"""From the inputs to the engine's plan: the same in each container, for it is a function of what fetch left."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder import contract, errors
from strata_builder import dockerfile as df
from strata_builder.context import download, folder, gitprogram
from strata_builder.engine import steps
from strata_builder.engine.options import Options
from strata_builder.oci import platform as platforms
from strata_builder.oci.platform import Platform
from strata_builder.pod import exchange, inputs, planfile, remotefetch, settings
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


def fetcher(request: contract.BuildRequest, paths: Paths, secrets: Mapping[str, bytes]) -> remotefetch.Fetcher:
    """How a pod fetches what ADD names."""
    ca = settings.ca_bundle(paths)
    git = gitprogram.Settings(ca=ca, scratch=paths.scratch)
    return remotefetch.Fetcher(request.context_limit_bytes, download.Client(ca), git, secrets)


class PlannedImages:
    """An `engine.planner.Images` that knows what fetch resolved, and nothing else."""

    def __init__(self, bases: tuple[planfile.Base, ...]) -> None:
        self._bases = {(base.name, base.platform): base for base in bases}

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        found = self._bases.get((reference, str(platform)))
        if found is None:
            raise errors.BaseImageNotFound(f"base image {reference} for {platform} is not in the plan")
        return found.resolved()
