"""push: holds the push credential. Puts the image together from fetch's plan and build's layers, each checked."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder.engine import epochs, execute, indexes, keys, planner, records, report, steps
from strata_builder.frozen import replace
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.pod import (
    alive,
    asked,
    blobs,
    collecting,
    exchange,
    measure,
    met,
    missing,
    planfile,
    publish,
    recipe,
    recording,
    remotes,
    rows,
    settings,
    stepping,
    storedfiles,
    taint,
)
from strata_builder.pod.paths import Paths
from strata_builder.registry.registries import Registries

_NUMBER: Final = re.compile(rb"[0-9]{1,18}")


def run(
    request: contract.BuildRequest,
    paths: Paths,
    reporter: report.Reporter,
    deadline: float,
    meet: met.Meet = met.meet_nothing,
) -> contract.BuildResult:
    """Until manifest and cache are in the registry. `deadline` is of time.monotonic(); `meet` is told the base images.
    Raises BuildError."""
    started = time.time()
    holder = alive.Holder(paths.alive(contract.PUSH))
    try:
        with settings.registries(request, paths) as registries:
            result = _Push(request, paths, reporter, deadline, registries, started, meet).run()
        exchange.publish(paths.push_done)
        return result
    finally:
        holder.close()


class _Push:
    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        reporter: report.Reporter,
        deadline: float,
        registries: Registries,
        started: float,
        meet: met.Meet,
    ) -> None:
        self.request, self.paths, self.reporter, self.deadline = request, paths, reporter, deadline
        self.registries, self.started, self.meet = registries, started, meet
        self.registry, self.repository = registries.get(request.output.registry), request.output.repository
        self.fetch = alive.Peer(contract.FETCH, paths.alive(contract.FETCH), paths.push_done)
        self.requests = exchange.Requests(paths.wanted, paths.brought, self.fetch)
        self.platform = asked.platform_of(request)
        self.keeps = request.cache.mode != "None"  # else what the image lacks goes nowhere

    def run(self) -> contract.BuildResult:
        exchange.wait(lambda: exchange.there(self.paths.plan), [self.fetch])
        self.plan = planfile.PlanFile.from_bytes(exchange.read(self.paths.plan, planfile.MAX_PLAN))
        known = records.Records.from_bytes(exchange.read(self.paths.records, records.MAX_BYTES * 2))
        asked = recipe.options(self.request, self.paths, self.platform, self.plan.source)
        self.options = epochs.fixed(asked, self.plan.epoch)
        dockerfile = recipe.dockerfile(self.paths, self.plan.dockerfile)
        planned = met.Images(recipe.PlannedImages(self.plan.bases), self.meet)
        plan = planner.make(dockerfile, self.options, planned)
        keyed = self.plan.keyed()
        heard = stepping.Heard(self.paths.told, self.paths.acks, missing.keys_to_make(plan, keyed, known))
        self.left = collecting.Collector(self.paths, self.plan, self.registry, self.repository, heard, keeps=self.keeps)
        self.result = self.left.collect(known, self.fetch) if self.plan.missing else None
        began = time.monotonic()
        made = self.result.records() if self.result else {}
        built = self._assemble(plan, replace(known, steps={**known.steps, **made}))
        if not self.keeps:
            for digest in {layer.descriptor.digest for layer in built.image.layers} & self.left.checked.keys():
                self.left.upload(digest)
        pushed = publish.image(
            self.registry,
            self.repository,
            built.image,
            at_hand=self._at_hand,
            bring=lambda layer: self.requests.bring(layer.descriptor.digest),
            mount_from=publish.mounts(self.registry.host, built.bases),
        )
        kept = self._to_keep(plan, keyed, built, made, known)
        keep = records.Records(kept, remotes=storedfiles.every(self.paths.remotes))
        contents = {**self.own.known, **self.left.checked}
        recording.write(self.request, self.platform, self.registries, keep, contents, pushed, known, self.reporter.note)
        self.reporter.note(f"pushed {self.registry.host}/{self.repository}@{pushed.descriptor.digest}")
        return self._outcome(plan, built, pushed.descriptor, time.monotonic() - began)

    def _to_keep(
        self,
        plan: steps.Plan,
        keyed: keys.Keyed,
        built: execute.Built,
        made: Mapping[str, records.Record],
        known: records.Records,
    ) -> dict[str, records.Record]:
        """For the cache: all that was made, and what of earlier builds was used.

        A step in namespaces of its own has nothing of the builder in reach; one in the builder's own container has, so
        there only what was taken down in time counts, under a key that names what had run by then."""
        kept = taint.keys_to_keep(plan, keyed)
        beside = taint.found_beside(known, kept) - made.keys()
        used = {**made, **built.used}
        if self.request.isolation == "InPlace":
            used = {key: r for key, r in used.items() if key not in made or key in self.left.heard.made}
            beside |= made.keys()
        return taint.to_keep(used, beside, kept)

    # putting together

    def _assemble(self, plan: steps.Plan, known: records.Records) -> execute.Built:
        """Config, history and manifest come from the plan; of build nothing enters but layers. Runs no step."""
        scratch = self.paths.scratch / "push"
        scratch.mkdir(parents=True)
        held = {layer: contents.blob for layer, contents in known.contents.items()}
        kept = indexes.Described(held, lambda blob: self.requests.bring(blob.digest).read_bytes(), self.reporter.note)
        self.own = blobs.RoleBlobs(scratch / "blobs", self._find, kept)
        edges = execute.Edges(
            blobs=self.own,
            remotes=remotes.Remotes(self.paths.remotes),
            known=known,
            report=report.Quiet() if self.result else self.reporter,
            scratch=scratch,
            cancel=threading.Event(),
            deadline=self.deadline,
        )
        try:
            return execute.execute(plan, self.plan.keyed(), self.options, edges)
        except errors.NeedsSandbox as e:
            raise errors.InfrastructureFailed("build ended without having run this step", place=e.place) from e

    def _at_hand(self, layer: LayerRef) -> Path | None:
        name = layer.descriptor.digest.removeprefix("sha256:")
        own, made = self.own.place(layer.descriptor.digest), self.paths.made / name
        made_by_build = self.result is not None and any(
            r.layer is not None and r.layer.descriptor.digest == layer.descriptor.digest
            for r in self.result.records().values()
        )
        return own if own.exists() else made if made_by_build else None

    def _find(self, layer: LayerRef) -> Path:
        return self._at_hand(layer) or self.requests.bring(layer.descriptor.digest)

    # the answer

    def _outcome(
        self, plan: steps.Plan, built: execute.Built, pushed: Descriptor, seconds: float
    ) -> contract.BuildResult:
        table = rows.merged(plan, self.plan.keyed(), built.steps, self.result)
        totals = self.registries.totals
        made = self.result
        metrics = contract.Metrics(
            fetch_seconds=self.plan.fetched,
            build_seconds=round(min(made.seconds, float(self.request.timeout_seconds)), 3) if made else 0.0,
            push_seconds=round(seconds, 3),
            pulled_bytes=self._pulled(),
            pushed_bytes=totals.bytes_up,
            cache_hits=sum(row.cached for row in table),
            cache_misses=sum(not row.cached for row in table),
            layers=len(built.image.layers),
            peak_memory_bytes=max(measure.peak_memory(), made.peak if made else 0),
        )
        return contract.BuildResult(
            platforms=(
                contract.PlatformResult(str(self.platform), pushed.digest, built.image.size, pushed.media_type),
            ),
            source=self.plan.source,
            base_images=tuple(contract.BaseImage(base.name, base.digest) for base in built.bases),
            metrics=metrics,
            steps=table,
            started=round(self.started, 3),
        )

    def _pulled(self) -> int:
        path = self.paths.inputs / "pulled"
        text = exchange.read(path, 64) if path.exists() else b""
        return max(self.plan.pulled, int(text) if _NUMBER.fullmatch(text) else 0)
