"""all: a build without RUN in one container; every platform, one after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from strata_builder import contract, errors, workers
from strata_builder.engine import blobs, epochs, execute, images, indexes, keys, planner, records, report, steps
from strata_builder.frozen import frozen, replace
from strata_builder.lint import building
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import (
    asked,
    cache,
    inputs,
    logs,
    measure,
    met,
    missing,
    publish,
    recipe,
    recording,
    remotes,
    settings,
    storedfiles,
    taint,
)
from strata_builder.pod.paths import Paths
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.registries import Registries


@frozen
class _Done:
    platform: contract.PlatformResult
    built: execute.Built


def run(
    request: contract.BuildRequest,
    paths: Paths,
    reporter: report.Reporter,
    deadline: float,
    hide: logs.Hide = logs.hide_nothing,
    meet: met.Meet = met.meet_nothing,
) -> contract.BuildResult:
    """`deadline` is of time.monotonic(); `hide` is told the secrets before anything is printed, `meet` each base image.
    Raises NeedsSandbox for a RUN that no record stands for, BuildError."""
    with workers.started(), settings.registries(request, paths) as registries:
        hide(asked.secrets(paths.at(contract.SECRET_SOURCES), request.secrets).values())
        return _Whole(request, paths, reporter, deadline, registries, meet).run()


def _refuse_runs(plan: steps.Plan, runs: tuple[taint.At, ...]) -> None:
    """Before any work: the pod that can run them does all of it."""
    if runs:
        index, position = runs[0]
        place = plan.stages[index].steps[position].place
        raise errors.NeedsSandbox(f"{len(runs)} RUN must run, and this pod runs none", place=place)


class _Whole:
    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        reporter: report.Reporter,
        deadline: float,
        registries: Registries,
        meet: met.Meet,
    ) -> None:
        self.request, self.paths, self.reporter = request, paths, reporter
        self.deadline, self.registries, self.meet = deadline, registries, meet
        self.started, self.began = time.time(), time.monotonic()
        self.fetched = self.building = self.pushing = 0.0

    def run(self) -> contract.BuildResult:
        self.brought = inputs.bring(self.request, self.paths)
        self.paths.remotes.mkdir()
        self.fetched = time.monotonic() - self.began
        with building.collected(self.reporter.note) as self.warnings:
            done = [self._platform(Platform.parse(text)) for text in self.request.platforms]
        return self._outcome(done)

    def _platform(self, platform: Platform) -> _Done:
        """A record whose layer the registry has lost is found out by the manifest's PUT: once again without such."""
        found, where = cache.read(self.request, platform, self.registries, self.reporter.note)
        try:
            return self._build(platform, found, where)
        except (registry_errors.BlobsUnknown, registry_errors.NotFound) as e:
            lost = {digest for digest in where if digest in getattr(e, "digests", ()) or digest in e.message}
            if not lost:
                raise
            self.reporter.note(f"the registry has lost {len(lost)} cached layers; they are made again")
            left = {key: r for key, r in found.steps.items() if not r.layer or r.layer.descriptor.digest not in lost}
            return self._build(platform, replace(found, steps=left), where)

    def _build(self, platform: Platform, found: records.Records, where: Mapping[str, tuple[str, str]]) -> _Done:
        began = time.monotonic()
        resolver = images.RegistryImages(self.registries)
        for layer in found.layers():
            host, repository = where[layer.descriptor.digest]
            registry = self.registries.get(host)
            resolver.knows((layer,), lambda d, at=registry, name=repository: at.blob(name, d.digest, d.size))  # type: ignore[misc]
        store = blobs.Blobs(self.paths.scratch / "blobs", resolver, self._contents(found, where))
        plan, keyed, built = self._execute(platform, found, resolver, store)
        self.building += time.monotonic() - began
        began = time.monotonic()
        pushed = self._publish(built, store, where)
        keys_ = taint.keys_to_keep(plan, keyed)
        kept = taint.to_keep(built.used, taint.found_beside(taint.known(found, plan, keyed), keys_), keys_)
        made = records.Records(kept, remotes=storedfiles.every(self.paths.remotes))
        recording.write(self.request, platform, self.registries, made, store.known, pushed, found, self.reporter.note)
        self.pushing += time.monotonic() - began
        done = pushed.descriptor
        name = f"{self.request.output.registry}/{self.request.output.repository}@{done.digest}"
        self.reporter.note(f"pushed {name} for {platform}")
        return _Done(contract.PlatformResult(str(platform), done.digest, built.image.size, done.media_type), built)

    def _contents(self, found: records.Records, where: Mapping[str, tuple[str, str]]) -> indexes.Kept:
        def read(blob: Descriptor) -> bytes:
            host, repository = where[blob.digest]
            return self.registries.get(host).blob_bytes(repository, blob, limit=blob.size)

        return indexes.Described({layer: c.blob for layer, c in found.contents.items()}, read, self.reporter.note)

    def _execute(
        self, platform: Platform, found: records.Records, resolver: images.RegistryImages, store: blobs.Blobs
    ) -> tuple[steps.Plan, keys.Keyed, execute.Built]:
        asked = recipe.options(
            self.request,
            self.paths,
            platform,
            self.brought.source,
            no_cache=self.request.cache.no_cache,
            context_time=self.brought.time,
        )
        dockerfile = recipe.dockerfile(self.paths, self.brought.dockerfile)
        adds = self._remotes(found)
        options = epochs.settled(dockerfile, asked, planner.outer(dockerfile, asked), adds.time)
        plan = planner.make(dockerfile, options, met.Images(resolver, self.meet))
        self.warnings.look(dockerfile, options, plan, recipe.ignore(self.paths))
        keyed = keys.of_plan(plan, options, adds)
        known = taint.known(found, plan, keyed)
        _refuse_runs(plan, missing.missing_runs(plan, keyed, known))
        edges = execute.Edges(
            blobs=store,
            remotes=adds,
            known=known,
            report=self.reporter,
            scratch=self.paths.scratch,
            cancel=threading.Event(),
            deadline=self.deadline,
        )
        return plan, keyed, execute.execute(plan, keyed, options, edges)

    def _remotes(self, found: records.Records) -> remotes.Remotes:
        secrets = asked.secrets(self.paths.at(contract.SECRET_SOURCES), self.request.secrets)
        fetcher = recipe.fetcher(self.request, self.paths, secrets)
        return remotes.Remotes(self.paths.remotes, fetcher, lambda: found.remotes)

    def _publish(
        self, built: execute.Built, store: blobs.Blobs, where: Mapping[str, tuple[str, str]]
    ) -> publish.Pushed:
        def at_hand(layer: LayerRef) -> Path | None:
            place = store.place(layer.descriptor.digest)
            return place if place.exists() else None

        registry = self.registries.get(self.request.output.registry)
        cached = {digest: repository for digest, (host, repository) in where.items() if host == registry.host}
        return publish.image(
            registry,
            self.request.output.repository,
            built.image,
            at_hand=at_hand,
            bring=store.path,
            mount_from={**cached, **publish.mounts(registry.host, built.bases)},
            present={digest for digest, repository in cached.items() if repository == self.request.output.repository},
        )

    def _outcome(self, done: list[_Done]) -> contract.BuildResult:
        rows = tuple(row for one in done for row in one.built.steps)
        totals = self.registries.totals
        metrics = contract.Metrics(
            fetch_seconds=round(self.fetched, 3),
            build_seconds=round(self.building, 3),
            push_seconds=round(self.pushing, 3),
            pulled_bytes=totals.bytes_down,
            pushed_bytes=totals.bytes_up,
            cache_hits=sum(row.cached for row in rows),
            cache_misses=sum(not row.cached for row in rows),
            layers=max(len(one.built.image.layers) for one in done),
            peak_memory_bytes=measure.peak_memory(),
        )
        bases = {(base.name, base.digest): None for one in done for base in one.built.bases}
        return contract.BuildResult(
            platforms=tuple(one.platform for one in done),
            source=self.brought.source,
            base_images=tuple(contract.BaseImage(*base) for base in bases),
            metrics=metrics,
            steps=rows,
            started=round(self.started, 3),
        )
