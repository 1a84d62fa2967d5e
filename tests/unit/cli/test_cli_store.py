"""What a host keeps between builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder.cli import store
from strata_builder.layers import indexfile
from support import layertrees

LAYER = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize("damage", [b"", b"junk", b"strata index 1\n"])
def test_a_table_of_contents_that_cannot_be_read_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    made = layertrees.packed(tmp_path / "layer", [layertrees.file("a", b"content")]).index
    kept = store.Store(tmp_path / "store")
    kept.keep_contents({LAYER: made})
    (place,) = kept.blobs.iterdir()
    place.write_bytes(damage)
    assert kept.find(LAYER) is None
    kept.keep_contents({LAYER: made})
    found = kept.find(LAYER)
    assert found is not None
    assert list(found) == list(made)
    assert place.read_bytes() == indexfile.encode(made)
