"""The file systems in which steps run, by the rung of isolation that the operator chose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from strata_builder import contract, errors
from strata_builder.pod.paths import Paths

if TYPE_CHECKING:
    from strata_builder.engine.blobs import Blobs
    from strata_builder.engine.roots import Roots


def roots(request: contract.BuildRequest, blobs: Blobs, paths: Paths) -> Roots | None:
    """None in Layers, which runs nothing. Raises NotSupported where the rung cannot be used."""
    if request.isolation == "Layers":
        return None
    from strata_builder.sandbox import roots as kinds

    kept = paths.scratch / "caches"
    if request.isolation == "InPlace":
        check_container(paths)
        return kinds.InPlaceRoots(paths.scratch, blobs, kept, learn=blobs.learn)
    check_user_namespace(request, paths)
    return kinds.UserNSRoots(paths.scratch, blobs, kept, learn=blobs.learn)


def check_user_namespace(request: contract.BuildRequest, paths: Paths) -> None:
    """All containers of a pod are in one user namespace: fetch tells, which is believed, and build refuses to run.

    Raises NoUserNamespace."""
    if request.isolation == "UserNS" and paths.home == Path(contract.HOME):
        from strata_builder.sandbox import host

        host.require_user_namespace()


def check_container(paths: Paths) -> None:
    """InPlace empties the root directory and fills it anew: that must be a container's, made for this alone.

    Raises NotSupported."""
    if os.getpid() != 1 or paths.home != Path(contract.HOME):
        raise errors.NotSupported(
            "isolation InPlace replaces the whole root directory, and this is not the first process of a container",
            hint="use it in a pod of the operator's; on a host `strata build` uses namespaces",
        )
