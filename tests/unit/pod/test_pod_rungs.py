"""Which file system steps get; above all, that no machine's own root is ever taken for a container's."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.engine import blobs
from strata_builder.pod import rungs
from strata_builder.pod.paths import Paths
from support import pods


@pytest.mark.parametrize("home", [Path("/.strata"), Path("/elsewhere")])
def test_in_place_refuses_a_machine_that_is_no_container(tmp_path: Path, home: Path) -> None:
    store = blobs.Blobs(tmp_path, blobs.Nowhere())
    with pytest.raises(errors.NotSupported, match="not the first process of a container"):
        rungs.roots(pods.request("registry", isolation="InPlace"), store, Paths(home))


def test_layers_has_no_file_system(tmp_path: Path) -> None:
    store = blobs.Blobs(tmp_path, blobs.Nowhere())
    assert rungs.roots(pods.request("registry", isolation="Layers"), store, Paths(tmp_path)) is None
