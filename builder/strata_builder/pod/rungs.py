"""The file systems in which steps run, by the rung of isolation that the operator chose."""

from __future__ import annotations

from strata_builder import contract, errors
from strata_builder.engine.blobs import Blobs
from strata_builder.engine.roots import Roots
from strata_builder.pod.paths import Paths


def roots(request: contract.BuildRequest, blobs: Blobs, paths: Paths) -> Roots | None:
    """None in Layers, which runs nothing. Raises NotSupported for a rung that this builder lacks."""
    if request.isolation == "Layers":
        return None
    if request.isolation == "UserNS":
        from strata_builder.sandbox.roots import UserNSRoots

        return UserNSRoots(paths.scratch, blobs, paths.scratch / "caches")
    raise errors.NotSupported(f"isolation {request.isolation} is not in this builder")
