"""Bringing the blobs that build and push ask for, until push has said that it is done."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from concurrent import futures
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder.engine import images
from strata_builder.layers import indexfile
from strata_builder.oci.image import LayerRef
from strata_builder.pod import alive, exchange
from strata_builder.pod.paths import Paths
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.registries import Registries

_WORKERS: Final = 4


class Server:
    """`allowed` are the blobs that the plan names, by digest; `bases` those of them that are of base images."""

    def __init__(
        self,
        request: contract.BuildRequest,
        paths: Paths,
        registries: Registries,
        resolver: images.RegistryImages,
        bases: Collection[str],
        allowed: Mapping[str, LayerRef],
    ) -> None:
        self.request, self.paths, self.registries, self.resolver = request, paths, registries, resolver
        self.bases = bases
        self.allowed = {digest.removeprefix("sha256:"): layer for digest, layer in allowed.items()}
        self.seen: set[str] = set()
        self.running: list[futures.Future[None]] = []
        self.lock = threading.Lock()

    def serve(self, early: tuple[LayerRef, ...]) -> None:
        peers = [
            alive.Peer(contract.BUILD, self.paths.alive(contract.BUILD), self.paths.build_done),
            alive.Peer(contract.PUSH, self.paths.alive(contract.PUSH), self.paths.push_done),
        ]
        pool = futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="blob")
        try:
            for layer in early:
                self._start(pool, layer.descriptor.digest.removeprefix("sha256:"))
            exchange.wait(lambda: self._look(pool), peers)
        finally:  # whoever ends early is not held up by downloads: its process takes them along
            pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, pool: futures.ThreadPoolExecutor) -> bool | None:
        for folder in (self.paths.need, self.paths.wanted):
            for name in exchange.names(folder, self.seen):
                self._start(pool, name)
        for done in [future for future in self.running if future.done()]:
            self.running.remove(done)
            done.result()
        if self.paths.secrets_taken.exists():
            for name in self.request.secrets:
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
            self.resolver.bring(layer, to)
        except errors.BuildError as e:
            if layer.descriptor.media_type == indexfile.MEDIA_TYPE:
                exchange.publish(to.with_name(f"{to.name}.refused"), e.message.encode())
                return
            if not isinstance(e, registry_errors.NotFound) or layer.descriptor.digest in self.bases:
                raise
            # The next attempt looks at what is left of the cache before it relies on it.
            raise errors.InfrastructureFailed(f"a cached layer is gone from its registry: {e.message}") from e
        with self.lock:
            pulled = self.registries.totals.bytes_down
            exchange.publish(self.paths.inputs / "pulled", str(pulled).encode())
