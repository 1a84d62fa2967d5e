"""build: has no credential, and runs the user's code. Makes the layers of steps that no record stands for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from strata_builder import contract, errors, workers
from strata_builder.engine import epochs, execute, keys, planner, records, report
from strata_builder.oci.image import LayerRef
from strata_builder.pod import alive, asked, blobs, exchange, logs, measure, met, planfile, recipe, remotes, rungs
from strata_builder.pod.paths import Paths
from strata_builder.pod.stepping import GuardedRoots, Stepping
from strata_builder.sandbox import privileges


def run(
    request: contract.BuildRequest,
    paths: Paths,
    reporter: report.Reporter,
    deadline: float,
    hide: logs.Hide = logs.hide_nothing,
    meet: met.Meet = met.meet_nothing,
) -> None:
    """Until its layers and its result lie in the outputs. `deadline` is of time.monotonic(); `hide` is told the secrets
    before a step runs, `meet` the base images. Raises BuildError."""
    privileges.hide_memory()
    holder = alive.Holder(paths.alive(contract.BUILD))
    try:
        fetch = alive.Peer(contract.FETCH, paths.alive(contract.FETCH), paths.push_done)
        paths.made.mkdir(parents=True, exist_ok=True)
        requests = exchange.Requests(paths.need, paths.brought, fetch)
        exchange.wait(lambda: exchange.there(paths.plan), [fetch])
        plan = planfile.PlanFile.from_bytes(exchange.read(paths.plan, planfile.MAX_PLAN))
        if plan.missing:
            # Before there are secrets and threads, and as closed to steps as this process. In place none would outlive a step.
            with workers.started(0 if request.isolation == "InPlace" else None):
                _Build(request, paths, reporter, deadline, plan, requests, fetch, hide, meet).run()
        exchange.publish(paths.build_done)
    finally:
        holder.close()


class _Build:
    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        reporter: report.Reporter,
        deadline: float,
        plan: planfile.PlanFile,
        requests: exchange.Requests,
        fetch: alive.Peer,
        hide: logs.Hide,
        meet: met.Meet,
    ) -> None:
        self.request, self.paths, self.reporter, self.deadline = request, paths, reporter, deadline
        self.hide, self.meet = hide, meet
        self.plan, self.requests, self.fetch = plan, requests, fetch
        self.began = time.monotonic()

    def run(self) -> None:
        known = records.Records.from_bytes(exchange.read(self.paths.records, records.MAX_BYTES * 2))
        keyed = self.plan.keyed()
        built = self._execute(keyed, known)
        ours = frozenset(keyed.steps.values()) - known.steps.keys()
        made = {key: record for key, record in built.used.items() if key in ours}
        result = planfile.Result.of(made, built.steps, round(time.monotonic() - self.began, 3), measure.peak_memory())
        exchange.publish(self.paths.result, result.to_bytes())

    def _execute(self, keyed: keys.Keyed, known: records.Records) -> execute.Built:
        wanted = recipe.options(
            self.request,
            self.paths,
            asked.platform_of(self.request),
            self.plan.source,
            secrets=self._take_secrets(),
            no_cache=self.request.cache.no_cache,
        )
        options = epochs.fixed(wanted, self.plan.epoch)
        dockerfile = recipe.dockerfile(self.paths, self.plan.dockerfile)
        plan = planner.make(dockerfile, options, met.Images(recipe.PlannedImages(self.plan.bases), self.meet))
        scratch = self.paths.outputs / "scratch"  # a finished blob is renamed from here, so it must be the same volume
        scratch.mkdir(mode=0o700)
        push = alive.Peer(contract.PUSH, self.paths.alive(contract.PUSH), self.paths.push_done)
        stepping = Stepping(keyed, self.paths.told, self.paths.acks, [push])
        found = blobs.RoleBlobs(self.paths.made, self._bring)
        cancel = threading.Event()
        watch = _Watch([self.fetch, push], cancel)
        roots = rungs.roots(self.request, found, self.paths)
        if roots is not None and self.request.isolation == "InPlace":
            roots = GuardedRoots(roots, stepping)
        edges = execute.Edges(
            blobs=found,
            remotes=remotes.Remotes(self.paths.remotes),
            known=known,
            report=self.reporter,
            made=stepping.made,
            scratch=scratch,
            roots=roots,
            cancel=cancel,
            deadline=self.deadline,
        )
        try:
            built = execute.execute(plan, keyed, options, edges)
            stepping.wait()  # the last steps, too, are taken down in time only if push does it before it sees the end
            return built
        except errors.Cancelled as e:
            raise watch.lost or e from None
        finally:
            cancel.set()

    def _bring(self, layer: LayerRef) -> Path:
        return self.requests.bring(layer.descriptor.digest)

    def _take_secrets(self) -> dict[str, bytes]:
        """Into memory; the files are gone before the first step runs."""
        found = asked.secrets(self.paths.secrets, self.plan.secrets)
        self.hide(found.values())
        exchange.publish(self.paths.secrets_taken)
        exchange.wait(lambda: True if self._are_gone() else None, [self.fetch])
        return found

    def _are_gone(self) -> bool:
        return not any((self.paths.secrets / name).exists() for name in self.plan.secrets)


class _Watch:
    """Cancels the build once a container is gone for which there would be nothing left to build."""

    def __init__(self, peers: list[alive.Peer], cancel: threading.Event) -> None:
        self.lost: alive.PeerLost | None = None
        self._peers, self._cancel = peers, cancel
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        while self.lost is None and not self._cancel.wait(1.0):
            try:
                for peer in self._peers:
                    peer.check()
            except alive.PeerLost as e:
                self.lost = e
        self._cancel.set()
