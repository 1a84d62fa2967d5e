"""What fetch does: brings the source, makes the plan, leaves both to the other containers, and serves them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from strata_builder import contract
from strata_builder.context.validators import Stored
from strata_builder.engine import epochs, images, keys, planner, records, report, steps
from strata_builder.lint import building
from strata_builder.oci.image import LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import asked, cache, exchange, inputs, met, missing, planfile, recipe, remotes, serving, taint
from strata_builder.pod.paths import Paths
from strata_builder.registry.registries import Registries


class RecordingImages:
    """Resolves base images and remembers what it found, for the plan."""

    def __init__(self, inner: images.RegistryImages) -> None:
        self._inner = inner
        self.bases: dict[tuple[str, str], planfile.Base] = {}
        self.layers: dict[str, LayerRef] = {}

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        base = self._inner.resolve(reference, platform)
        self.bases[reference, str(platform)] = planfile.Base.of(str(platform), base)
        self.layers.update({layer.descriptor.digest: layer for layer in base.image.layers})
        return base


class Fetch:
    """`reading` waits for what `cache.found` gives."""

    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        reporter: report.Reporter,
        registries: Registries,
        secrets: Mapping[str, bytes],
        reading: Callable[[], cache.Found],
        meet: met.Meet = met.meet_nothing,
    ) -> None:
        self.request, self.paths, self.reporter, self.registries = request, paths, reporter, registries
        self.secrets = secrets
        self.reading, self.meet = reading, meet
        self.began = time.monotonic()
        self.resolver = images.RegistryImages(registries)
        self.images = RecordingImages(self.resolver)
        self.platform = asked.platform_of(request)
        self.epoch: int | None = None

    def run(self) -> None:
        """Until push has said that it is done. Raises BuildError, PeerLost."""
        with building.collected(self.reporter.note) as warnings:
            self._run(warnings)

    def _run(self, warnings: building.Warnings) -> None:
        brought = inputs.bring(self.request, self.paths)
        self.reporter.note(_source_line(brought.source))
        plan, keyed, known = self._plan(brought, warnings)
        early = missing.layers(plan, keyed, known) if missing.missing_runs(plan, keyed, known) else ()
        allowed = self.images.layers | {blob.digest: LayerRef(blob, blob.digest) for blob in known.blobs()}
        self._leave(brought, plan, keyed, known)
        serving.Server(self.request, self.paths, self.registries, self.resolver, self.images.layers, allowed).serve(
            early
        )

    def _plan(
        self, brought: inputs.Brought, warnings: building.Warnings
    ) -> tuple[steps.Plan, keys.Keyed, records.Records]:
        wanted = recipe.options(self.request, self.paths, self.platform, brought.source, context_time=brought.time)
        dockerfile = recipe.dockerfile(self.paths, brought.dockerfile)
        adds = self._remotes(lambda: self.reading().records.remotes)
        options = epochs.settled(dockerfile, wanted, planner.outer(dockerfile, wanted), adds.time)
        self.epoch = options.source_date_epoch
        plan = planner.make(dockerfile, options, met.Images(self.images, self.meet))
        warnings.look(dockerfile, options, plan, recipe.ignore(self.paths))
        keyed = keys.of_plan(plan, options, adds)
        known = taint.known(self._records(), plan, keyed)
        for step in missing.adds(plan, keyed, known):
            adds.complete(step)
        return plan, keyed, known

    def _records(self) -> records.Records:
        found = self.reading()
        for blob in found.records.blobs():
            self.resolver.knows((LayerRef(blob, blob.digest),), self._opener(*found.places[blob.digest]))
        return found.records

    def _opener(self, host: str, repository: str) -> images.Opener:
        registry = self.registries.get(host)
        return lambda blob: registry.blob(repository, blob.digest, blob.size)

    def _remotes(self, known: Callable[[], Mapping[str, Stored]]) -> remotes.Remotes:
        self.paths.remotes.mkdir()
        return remotes.Remotes(self.paths.remotes, recipe.fetcher(self.request, self.paths, self.secrets), known)

    def _leave(self, brought: inputs.Brought, plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> None:
        """The plan comes last: who sees it finds all else."""
        self.paths.brought.mkdir()
        stages, of_steps = planfile.keys_of(keyed)
        made = planfile.PlanFile(
            source=brought.source,
            dockerfile=brought.dockerfile,
            bases=tuple(self.images.bases.values()),
            stages=stages,
            steps=of_steps,
            missing=missing.missing_runs(plan, keyed, known),
            secrets=self.request.secrets,
            fetched=round(time.monotonic() - self.began, 3),
            pulled=self.registries.totals.bytes_down,
            epoch=self.epoch,
        )
        exchange.publish(self.paths.records, known.to_bytes())
        exchange.publish(self.paths.plan, made.to_bytes())
        self.reporter.note(f"plan made in {made.fetched:.1f} s: {len(made.missing)} RUN to run")


def _source_line(source: contract.SourceResult) -> str:
    if source.commit:
        return f"source: commit {source.commit[:12]} {source.message}".rstrip()
    return f"source: {source.revision}" if source.revision else "source: files of the spec"
