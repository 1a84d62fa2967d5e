"""fetch: holds the source and pull credentials, never runs code of the user's. Makes the plan, then brings blobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder.context.validators import Stored
from strata_builder.engine import epochs, images, keys, planner, records, report, steps
from strata_builder.layers import index
from strata_builder.lint import building
from strata_builder.oci.image import LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import (
    alive,
    cache,
    exchange,
    inputs,
    logs,
    missing,
    planfile,
    recipe,
    remotes,
    rungs,
    settings,
    taint,
)
from strata_builder.pod.paths import Paths
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.registries import Registries

_WORKERS: Final = 4


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


def run(
    request: contract.BuildRequest, paths: Paths, reporter: report.Reporter, hide: logs.Hide = logs.hide_nothing
) -> None:
    """Until push has said that it is done. `hide` is told the secrets before anything is printed. Raises BuildError;
    PeerLost if another container ends early."""
    holder = alive.Holder(paths.alive(contract.FETCH))
    try:
        rungs.check_user_namespace(request, paths)
        with settings.registries(request, paths) as registries:
            _Fetch(request, paths, reporter, registries, hide).run()
    finally:
        holder.close()


class _Fetch:
    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        reporter: report.Reporter,
        registries: Registries,
        hide: logs.Hide,
    ) -> None:
        self.request, self.paths, self.reporter, self.registries = request, paths, reporter, registries
        self.hide = hide
        self.began = time.monotonic()
        self.resolver = images.RegistryImages(registries)
        self.images = RecordingImages(self.resolver)
        self.platform = recipe.platform_of(request)
        self.epoch: int | None = None

    def run(self) -> None:
        self.secrets = self._secrets()
        with building.collected(self.reporter.note) as warnings:
            self._run(warnings)

    def _run(self, warnings: building.Warnings) -> None:
        brought = inputs.bring(self.request, self.paths)
        self.reporter.note(_source_line(brought.source))
        plan, keyed, known = self._plan(brought, warnings)
        early = missing.layers(plan, keyed, known) if missing.missing_runs(plan, keyed, known) else ()
        allowed = self.images.layers | {blob.digest: LayerRef(blob, blob.digest) for blob in known.blobs()}
        self._leave(brought, plan, keyed, known)
        _Server(self, allowed).serve(early)

    def _plan(
        self, brought: inputs.Brought, warnings: building.Warnings
    ) -> tuple[steps.Plan, keys.Keyed, records.Records]:
        """The cache is read while the context is hashed: neither needs the other."""
        with futures.ThreadPoolExecutor(1, thread_name_prefix="cache") as pool:
            reading = pool.submit(self._records)
            asked = recipe.options(self.request, self.paths, self.platform, brought.source, context_time=brought.time)
            dockerfile = recipe.dockerfile(self.paths, brought.dockerfile)
            adds = self._remotes(lambda: reading.result().remotes)
            options = epochs.settled(dockerfile, asked, planner.outer(dockerfile, asked), adds.time)
            self.epoch = options.source_date_epoch
            plan = planner.make(dockerfile, options, self.images)
            warnings.look(dockerfile, options, plan, recipe.ignore(self.paths))
            keyed = keys.of_plan(plan, options, adds)
            known = taint.known(reading.result(), plan, keyed)
        for step in missing.adds(plan, keyed, known):
            adds.complete(step)
        return plan, keyed, known

    def _records(self) -> records.Records:
        found, where = cache.read(self.request, self.platform, self.registries, self.reporter.note)
        if self.request.build.attempt > 1:
            found = cache.present(found, where, self.registries)
        for blob in found.blobs():
            self.resolver.knows((LayerRef(blob, blob.digest),), self._opener(*where[blob.digest]))
        return found

    def _opener(self, host: str, repository: str) -> images.Opener:
        registry = self.registries.get(host)
        return lambda blob: registry.blob(repository, blob.digest, blob.size)

    def _remotes(self, known: Callable[[], Mapping[str, Stored]]) -> remotes.Remotes:
        self.paths.remotes.mkdir()
        return remotes.Remotes(self.paths.remotes, recipe.fetcher(self.request, self.paths, self.secrets), known)

    def _secrets(self) -> dict[str, bytes]:
        """Into the memory volume, where build takes them from before it runs anything."""
        found = recipe.secrets(self.paths.at(contract.SECRET_SOURCES), self.request.secrets)
        self.hide(found.values())
        for name, content in found.items():
            exchange.publish(self.paths.secrets / name, content)
        return found

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


class _Server:
    """Brings the blobs that build and push ask for, as long as the plan names them."""

    def __init__(self, fetch: _Fetch, allowed: dict[str, LayerRef]) -> None:
        self.fetch, self.paths = fetch, fetch.paths
        self.allowed = {digest.removeprefix("sha256:"): layer for digest, layer in allowed.items()}
        self.seen: set[str] = set()
        self.running: list[futures.Future[None]] = []
        self.lock = threading.Lock()

    def serve(self, early: tuple[LayerRef, ...]) -> None:
        peers = [
            alive.Peer(contract.BUILD, self.paths.alive(contract.BUILD), self.paths.build_done),
            alive.Peer(contract.PUSH, self.paths.alive(contract.PUSH), self.paths.push_done),
        ]
        with futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="blob") as pool:
            for layer in early:
                self._start(pool, layer.descriptor.digest.removeprefix("sha256:"))
            try:
                exchange.wait(lambda: self._look(pool), peers)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, pool: futures.ThreadPoolExecutor) -> bool | None:
        for folder in (self.paths.need, self.paths.wanted):
            for name in exchange.names(folder, self.seen):
                self._start(pool, name)
        for done in [future for future in self.running if future.done()]:
            self.running.remove(done)
            done.result()
        if self.paths.secrets_taken.exists():
            for name in self.fetch.request.secrets:
                (self.paths.secrets / name).unlink(missing_ok=True)
        return True if self.paths.push_done.exists() else None

    def _start(self, pool: futures.ThreadPoolExecutor, name: str) -> None:
        self.seen.add(name)
        layer = self.allowed.get(name)
        if layer is not None:
            self.running.append(pool.submit(self._bring, layer, self.paths.brought / name))
        elif len(self.seen) < 10_000:  # a hostile build must not fill the disk with refusals
            exchange.publish(self.paths.brought / f"{name}.refused", b"the plan does not name it")

    def _bring(self, layer: LayerRef, to: Path) -> None:
        try:
            self.fetch.resolver.bring(layer, to)
        except errors.BuildError as e:
            if layer.descriptor.media_type == index.MEDIA_TYPE:
                exchange.publish(to.with_name(f"{to.name}.refused"), e.message.encode())
                return
            if not isinstance(e, registry_errors.NotFound) or layer.descriptor.digest in self.fetch.images.layers:
                raise
            # The next attempt looks at what is left of the cache before it relies on it.
            raise errors.InfrastructureFailed(f"a cached layer is gone from its registry: {e.message}") from e
        with self.lock:
            pulled = self.fetch.registries.totals.bytes_down
            exchange.publish(self.paths.inputs / "pulled", str(pulled).encode())


def _source_line(source: contract.SourceResult) -> str:
    if source.commit:
        return f"source: commit {source.commit[:12]} {source.message}".rstrip()
    return f"source: {source.revision}" if source.revision else "source: files of the spec"
