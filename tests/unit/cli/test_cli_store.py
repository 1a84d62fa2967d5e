"""What a host keeps between builds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strata_builder.cli import store
from strata_builder.context import memory
from strata_builder.engine import blobs
from strata_builder.layers import indexfile
from strata_builder.oci.image import LayerRef
from support import engine_build, layertrees

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


def test_what_a_killed_build_has_left_goes_with_the_next_and_what_is_in_use_stays(tmp_path: Path) -> None:
    kept = store.Store(tmp_path)
    with kept.scratch() as used:
        (used / "file").touch()
        killed = f"""
import os
from pathlib import Path
from strata_builder.cli import store
with store.Store(Path({str(tmp_path)!r})).scratch() as left:
    (left / "roots").mkdir()
    (left / "secret").touch()
    os.kill(os.getpid(), 9)
"""
        assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
        assert len([*(tmp_path / "scratch").iterdir()]) == 2
        with store.Store(tmp_path).scratch() as mine:
            assert {*(tmp_path / "scratch").iterdir()} == {used, mine}
            assert (used / "file").exists()
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_what_is_left_goes_however_deep_it_is(tmp_path: Path) -> None:
    kept = store.Store(tmp_path)
    with kept.scratch() as used:
        at = os.open(used, os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("d", dir_fd=at)
            above, at = at, os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(above)
        os.close(at)
    assert [*(tmp_path / "scratch").iterdir()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_told_to_end_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    heard = ["env", "--default-signal=INT,TERM,HUP"]  # whoever runs the tests may ignore them
    build = [*heard, sys.executable, "-m", "strata_builder.cli", "build", "--isolation=layers", "-"]
    told = {**os.environ, "STRATA_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(build, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=told) as waiting:
        scratch = tmp_path / "scratch"
        end = time.monotonic() + 20
        while time.monotonic() < end and not (scratch.is_dir() and any(scratch.glob("*/remotes"))):
            time.sleep(0.02)
        time.sleep(0.2)
        waiting.send_signal(number)
        assert waiting.wait(20) == 130, waiting.stderr
    assert [*scratch.iterdir()] == []


@pytest.mark.parametrize("part", ["blobs", "digests"])
def test_a_file_that_another_build_moves_away_meanwhile_is_no_failure(tmp_path: Path, part: str) -> None:
    kept = store.Store(tmp_path)
    kept.digests.mkdir()
    for name in ("old", "young"):
        (tmp_path / part / name).touch()
    os.utime(tmp_path / part / "old", (1, 1))
    (tmp_path / part / ".partial").symlink_to("gone")  # it is listed, and cannot be looked at
    kept.keep({}, {})
    assert (tmp_path / part / "young").exists()
    assert (tmp_path / "digests" / "old").exists() is False


def test_a_table_that_nobody_needed_for_long_goes_where_there_is_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.Store(tmp_path)
    monkeypatch.setattr(store, "MAX_BYTES", 10)
    (kept.blobs / "old").write_bytes(bytes(8))
    (kept.blobs / "young").write_bytes(bytes(8))
    os.utime(kept.blobs / "old", (1, 1))
    kept.keep({}, {})
    assert [path.name for path in kept.blobs.iterdir()] == ["young"]


def test_a_blob_that_was_cut_short_is_brought_or_made_anew(tmp_path: Path) -> None:
    """As after the machine went down: a step of ours is made again, and a layer of a base fetched."""
    context = memory.MemoryTree({b"a": b"first", b"b": b"second"})
    kept = store.Store(tmp_path / "store")
    engine = engine_build.Engine(tmp_path / "store")
    built, _ = engine.run("FROM scratch\nCOPY a /\nCOPY b /\n", context)
    kept.keep(built.used, {})
    cut, whole = built.image.layers
    blob = kept.blobs / cut.descriptor.digest.removeprefix("sha256:")
    content = blob.read_bytes()
    for damage in (b"", content[:-1]):
        blob.write_bytes(damage)
        found = {record.layer for record in kept.records().steps.values()}
        assert found == {whole}
        brought = blobs.Blobs(kept.blobs, Bringing(content))
        assert brought.path(cut).read_bytes() == content
        assert {record.layer for record in kept.records().steps.values()} == {cut, whole}


class Bringing(blobs.Nowhere):
    def __init__(self, content: bytes) -> None:
        self.content = content

    def bring(self, layer: LayerRef, to: Path) -> None:
        assert layer.descriptor.size == len(self.content)
        to.write_bytes(self.content)
