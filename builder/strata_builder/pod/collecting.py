"""What build leaves, taken by push while it runs: each step taken down, each layer uploaded as it appears, then checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from strata_builder import contract, errors
from strata_builder.engine import records
from strata_builder.layers.index import Index
from strata_builder.oci import mediatypes
from strata_builder.oci.image import Descriptor
from strata_builder.pod import alive, exchange, planfile, publish, stepping, uploads, wire
from strata_builder.pod.paths import Paths
from strata_builder.registry import upload
from strata_builder.registry.client import Registry


class Collector:
    """`heard` takes down the steps. With `keeps` every layer is uploaded, for the cache has them too. Build is hostile: of
    what it leaves only regular files count, and only what has the digest that was told."""

    def __init__(
        self,
        paths: Paths,
        plan: planfile.PlanFile,
        registry: Registry,
        repository: str,
        heard: stepping.Heard,
        *,
        keeps: bool,
    ) -> None:
        self.paths, self.plan, self.registry, self.repository = paths, plan, registry, repository
        self.heard, self.keeps = heard, keeps
        self.checked: dict[str, Index] = {}  # what the layers of build hold

    def collect(self, known: records.Records, fetch: alive.Peer) -> planfile.Result:
        """Until build is done. Raises PeerLost, PushDenied, InfrastructureFailed for what cannot be used."""
        self._check_admission()
        most = len(self.heard.allowed)  # a layer a step
        sending = uploads.Uploads(lambda name: self.upload(f"sha256:{name}"), self.paths.made, most)
        build = alive.Peer(contract.BUILD, self.paths.alive(contract.BUILD), self.paths.build_done)
        try:
            exchange.wait(lambda: self._uploaded(sending), [fetch, build])
            if self.keeps:
                sending.finish()
        except wire.WireError as e:
            raise _unusable(e) from e
        finally:
            sending.close()
        result = self._result(known)
        for made in result.records().values():
            if made.layer is not None:
                digest = made.layer.descriptor.digest
                self.checked[digest] = uploads.verify(self.open(digest), made.layer)
        return result

    def upload(self, digest: str) -> None:
        """One layer of build's, as it lies there."""
        with self.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
        descriptor = Descriptor(mediatypes.layer_of("gzip"), digest, size)
        with publish.denied(self.registry.host, self.repository):
            self.registry.upload_blob(self.repository, descriptor, lambda: self.open(digest))

    def open(self, digest: str) -> BinaryIO:
        """A regular file of build's, never what a link leads to."""
        path = self.paths.made / digest.removeprefix("sha256:")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise errors.InfrastructureFailed(f"the layer {digest} that build made is not there: {e.strerror}") from e
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or _has_holes(descriptor, status.st_size):
            os.close(descriptor)
            raise errors.InfrastructureFailed(f"the layer {digest} that build made is no regular file, or has holes")
        return os.fdopen(descriptor, "rb")  # the caller closes it

    def _uploaded(self, sending: uploads.Uploads) -> Path | None:
        self.heard.look()
        if self.keeps:
            sending.look()
        return exchange.there(self.paths.build_done)

    def _result(self, known: records.Records) -> planfile.Result:
        allowed = frozenset(self.plan.keyed().steps.values()) - known.steps.keys()
        try:
            result = planfile.Result.from_bytes(exchange.read(self.paths.result, planfile.MAX_RESULT), allowed)
        except wire.WireError as e:
            raise _unusable(e) from e
        said = result.records()
        if any(said.get(key) != record for key, record in self.heard.made.items()):
            raise errors.InfrastructureFailed("the container build says something else of a step than when it was made")
        return result

    def _check_admission(self) -> None:
        """A wrong password is found out now, not after an hour of building."""
        with publish.denied(self.registry.host, self.repository):
            begun = upload.start(self.registry.session, self.repository)
            upload.cancel(self.registry.session, self.repository, begun.location)


def _has_holes(descriptor: int, size: int) -> bool:
    """What is compressed has none, and they are no part of what the pod may fill, but would fill the registry."""
    try:
        found = os.lseek(descriptor, 0, os.SEEK_HOLE) < size
    except OSError:  # an empty file, or a file system that cannot tell
        return False
    os.lseek(descriptor, 0, os.SEEK_SET)
    return found


def _unusable(why: wire.WireError) -> errors.InfrastructureFailed:
    return errors.InfrastructureFailed(f"the container build left what cannot be used: {why}")
