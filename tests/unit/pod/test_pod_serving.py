"""What fetch does for the other containers once there is a plan."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from strata_builder import contract
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.pod import alive, serving
from strata_builder.pod.paths import Paths
from support import pods

LAYER = LayerRef(Descriptor("application/vnd.oci.image.layer.v1.tar", f"sha256:{'a' * 64}", 1), f"sha256:{'b' * 64}")


class SlowRegistry:
    """Brings nothing before `go` is set."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), threading.Event()

    def bring(self, layer: LayerRef, to: Path) -> None:
        self.asked.set()
        self.go.wait(30)


def test_who_lost_the_others_waits_for_no_blob(tmp_path: Path) -> None:
    paths, registry = Paths(tmp_path), SlowRegistry()
    known: Any = (None, registry, (), {LAYER.descriptor.digest: LAYER})
    alive.Holder(paths.alive(contract.BUILD)).close()
    server = serving.Server(pods.request("registry.example"), paths, *known)
    later = threading.Timer(5, registry.go.set)
    later.start()
    with pytest.raises(alive.PeerLost, match="build ended"):
        server.serve((LAYER,))
    assert registry.asked.is_set()
    assert not registry.go.is_set()
    later.cancel()
    registry.go.set()
