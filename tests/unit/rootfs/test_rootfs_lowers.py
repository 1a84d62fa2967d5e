"""Layers are unpacked side by side, whoever does it, and as one after another."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from strata_builder import errors, workers
from strata_builder.layers import halves
from strata_builder.layers.index import Index
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import lowers
from support.layertrees import file, folder, hard, link, tree_of
from support.sandboxes import LocalBlobs


@pytest.fixture(name="blobs")
def _blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def image(blobs: LocalBlobs) -> list[LayerRef]:
    """Layers that ask for what is below them: the second one's directory is as in the first."""
    return [
        blobs.must_add([folder("d", 0o750, mtime=7), file("d/a", b"a" * 9000), file("etc/passwd", b"root:x:0:0:::")]),
        blobs.must_add([file("d/b", b"b"), hard("d/c", "d/b"), file("su", b"#", 0o4755, mtime=9)]),
        blobs.must_add([folder("e"), link("e/l", "../d"), file("d/deep/er/f", b"f")]),
        blobs.must_add([file(f"many/{number}", str(number).encode()) for number in range(300)]),
    ]


class Forgetful(LocalBlobs):
    """Nobody has kept a table of contents; views are of those that were learned."""

    def __init__(self, blobs: LocalBlobs) -> None:
        super().__init__(blobs.folder)

    def learn(self, layer: LayerRef, contents: Index) -> None:
        self.indexes[layer.descriptor.digest] = contents


def unpacked(tmp_path: Path, blobs: LocalBlobs, layers: list[LayerRef]) -> list[object]:
    """What each layer's folder holds, and its index says."""
    own = blobs if isinstance(blobs, Forgetful) else Forgetful(blobs)
    found = lowers.Lowers(tmp_path, own, own.learn)
    made = found.over((), layers)
    told = [([*own.indexes[layer.descriptor.digest]], own.indexes[layer.descriptor.digest].texts) for layer in layers]
    seen = [(tree_of(lower.path), lower.path.stat().st_mode, lower.root, lower.unset) for lower in made]
    found.close()
    return [*zip(seen, told, strict=True)]


@pytest.mark.parametrize("count", [1, 3])
def test_layers_unpacked_by_other_processes_are_those_that_this_one_makes(
    tmp_path: Path, blobs: LocalBlobs, count: int
) -> None:
    layers = image(blobs)
    alone = unpacked(tmp_path / "alone", blobs, layers)
    with workers.started(count):
        assert unpacked(tmp_path / "beside", blobs, layers) == alone


def test_where_the_index_is_known_it_stays_as_it_was(tmp_path: Path, blobs: LocalBlobs) -> None:
    layers = image(blobs)
    alone = unpacked(tmp_path / "alone", blobs, layers)
    with workers.started(2):
        found = lowers.Lowers(tmp_path / "beside", blobs)
        made = found.over((), layers)
        assert [tree_of(lower.path) for lower in made] == [seen[0] for seen, _ in alone]  # type: ignore[index, misc]
        found.close()


def test_a_layer_is_bad_in_the_same_words_whoever_unpacks_it(tmp_path: Path, blobs: LocalBlobs) -> None:
    layers = image(blobs)
    for layer in layers[1:3]:
        place = blobs.folder / layer.descriptor.digest
        place.write_bytes(place.read_bytes()[:-20])
    said = set()
    for count in (0, 1, 3):
        with workers.started(count), pytest.raises(errors.LayerError) as refused:
            unpacked(tmp_path / str(count), blobs, layers)
        said.add((str(refused.value), refused.value.__class__, getattr(refused.value, "digest", "")))
    assert len(said) == 1, "the first layer's error is told"
    assert layers[1].descriptor.digest in str(said)


def _gone(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half_done(*arguments: object) -> None:
    place = arguments[-1][1]  # type: ignore[index]
    os.close(os.open("d", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    raise OSError("the disk was full for a moment")


@pytest.mark.parametrize("call", [_gone, _half_done])
def test_what_another_process_fails_at_is_done_here(
    tmp_path: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, call: Callable[..., None]
) -> None:
    layers = image(blobs)
    alone = unpacked(tmp_path / "alone", blobs, layers)
    monkeypatch.setattr(halves, "_called", call)
    with workers.started(2):
        assert unpacked(tmp_path / "beside", blobs, layers) == alone


def test_a_process_of_another_user_namespace_is_not_used(
    tmp_path: Path, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workers.started(1), workers.borrowed() as found:
        monkeypatch.setattr(halves, "_USERS", "/proc/self/ns/pid")
        layer = image(blobs)[0]
        (tmp_path / "root").mkdir()
        with blobs.open(layer) as blob, pytest.raises(workers.Failed, match="user namespace"):
            halves.by(found[0], blob, halves.Wanted(layer.descriptor.media_type, layer.diff_id), tmp_path / "root")
        assert not [*(tmp_path / "root").iterdir()]


def test_two_stages_share_what_they_unpack_at_once(tmp_path: Path, blobs: LocalBlobs) -> None:
    layers = image(blobs)
    found = lowers.Lowers(tmp_path / "scratch", blobs)
    made: list[list[lowers.Lower]] = []
    with workers.started(1):
        threads = [threading.Thread(target=lambda: made.append(found.over((), layers))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 4
    assert all(each == made[0] for each in made)
    assert len(blobs.opened) == len(layers)
    found.close()


class Together(Forgetful):
    """A layer comes only once all have been asked for."""

    def __init__(self, blobs: LocalBlobs, count: int) -> None:
        super().__init__(blobs)
        self._asked = threading.Barrier(count)
        self._here = threading.Event()

    def bring(self, layer: LayerRef) -> None:
        self._asked.wait(60)
        self._here.set()

    def open(self, layer: LayerRef) -> BinaryIO:
        assert self._here.wait(60)
        return super().open(layer)


def test_layers_are_fetched_side_by_side(tmp_path: Path, blobs: LocalBlobs) -> None:
    layers = image(blobs)
    assert len(unpacked(tmp_path / "scratch", Together(blobs, len(layers)), layers)) == len(layers)
