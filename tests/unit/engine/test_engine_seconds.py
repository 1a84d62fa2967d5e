"""When a step has to wait for the next second, so that no two versions of a file have one size and one time."""

from __future__ import annotations

import pytest

from strata_builder.engine import seconds
from strata_builder.entries import Entry, Kind
from strata_builder.layers import index
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.digest import Digest
from strata_builder.oci.image import LayerRef


def layer(number: int) -> LayerRef:
    digest = Digest(f"sha256:{number:064}")
    return LayerRef(Descriptor("application/vnd.oci.image.layer.v1.tar", digest, 1), digest)


LAYERS = [layer(0), layer(1), layer(2)]
FRESH = {each.descriptor.digest for each in LAYERS[1:]}


def index_of(*entries: Entry) -> index.Index:
    made = index.Builder()
    for entry in entries:
        made.add(entry)
    return made.finish()


def file(path: bytes, size: int) -> Entry:
    return Entry(path, Kind.FILE, 0o644, size=size, digest="0" * 64)


@pytest.mark.parametrize(
    ("new", "fresh", "later", "waits"),
    [
        (file(b"app.py", 5), FRESH, 0.2, [pytest.approx(0.3)]),
        (file(b"app.py", 5), FRESH, 0.6, []),  # the second is over
        (file(b"app.py", 6), FRESH, 0.2, []),
        (file(b"other.py", 5), FRESH, 0.2, []),
        (file(b"app.py", 5), set(), 0.2, []),  # has the time of its content
        (Entry(b"app.py", Kind.SYMLINK, 0o777, link=b"a"), FRESH, 0.2, []),
        (Entry(b"d", Kind.DIR, 0o755), FRESH, 0.2, []),
    ],
)
def test_a_step_waits_only_for_what_would_be_taken_for_the_file_before(new, fresh, later, waits):
    indexes = {LAYERS[0]: index_of(Entry(b"d", Kind.DIR, 0o755)), LAYERS[1]: index_of(file(b"app.py", 5))}
    indexes[LAYERS[2]] = index_of(new)
    now, waited = [1000.5], []
    kept = seconds.Seconds(indexes.__getitem__, waited.append, clock=lambda: now[0])
    kept.part(LAYERS[:2], fresh)
    kept.ran(LAYERS[:2])
    now[0] += later
    kept.part(LAYERS, fresh)
    assert waited == waits
