"""Copying out of layers, and the parts of file systems that need no rights."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.engine import placing, selecting
from strata_builder.frozen import replace
from strata_builder.layers import pack
from strata_builder.rootfs import inplace, lowers, points, stage_tree, trash, view
from support import tars
from support.layertrees import file, folder, hard, link
from support.sandboxes import LocalBlobs


@pytest.fixture(name="blobs")
def _blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def tree_over(blobs: LocalBlobs, scratch: Path, *layers) -> stage_tree.StageTree:
    return stage_tree.StageTree(blobs.view(layers), layers, blobs.open, scratch)


def content(tree: stage_tree.StageTree, path: bytes) -> bytes:
    opened = tree.open(path)
    try:
        return opened.read() or b""
    finally:
        opened.close()


def _changes(stage: inplace.Stage, lower: view.View) -> tuple[list[bytes], list[bytes]]:
    """The paths that changed, and those that are gone."""
    found, gone = stage.changes(lower, clamp=None)
    return [item.entry.path for item in found], gone


def test_contents_come_out_of_the_layer_that_shows_them(blobs: LocalBlobs, tmp_path: Path):
    low = blobs.must_add([folder("d"), file("d/a", b"low a"), file("d/b", b"low b")])
    top = blobs.must_add([folder("d"), file("d/a", b"top a"), link("l", "d/a")])
    tree = tree_over(blobs, tmp_path / "scratch", low, top)
    assert content(tree, b"d/a") == b"top a"
    assert content(tree, b"d/b") == b"low b"
    assert tree.children(b"d") == [b"a", b"b"]


def test_one_pass_over_a_layer_brings_out_all_that_was_asked_for(blobs: LocalBlobs, tmp_path: Path):
    layer = blobs.must_add([file(f"f{n}", str(n).encode()) for n in range(50)])
    tree = tree_over(blobs, tmp_path / "scratch", layer)
    for n in range(50):
        tree.digest(b"f%d" % n)
    assert [content(tree, b"f%d" % n) for n in range(50)] == [str(n).encode() for n in range(50)]
    assert len(blobs.opened) == 1


def test_a_copy_of_many_files_passes_once_over_their_layer(blobs: LocalBlobs, tmp_path: Path):
    layer = blobs.must_add([folder("d"), *(file(f"d/f{n}", str(n).encode()) for n in range(50)), hard("d/h", "d/f1")])
    tree = tree_over(blobs, tmp_path / "scratch", layer)
    found = [replace(one, dated=True) for one in selecting.select(tree, "d", where="a stage")]
    placed = placing.Layer(placing.Nothing(), placing.Manner())
    placing.place(found, b"to", into=False, layer=placed, excluded=selecting.excludes(()))
    packed = pack.pack(placed.finished(), blob=tmp_path / "blob")
    assert packed is not None
    assert len(packed.index) == 52
    assert len(blobs.opened) == 1


def test_hard_links_are_one_file_within_a_layer(blobs: LocalBlobs, tmp_path: Path):
    layer = blobs.must_add([file("a", b"same"), hard("b", "a"), hard("c", "b"), file("d", b"same")])
    tree = tree_over(blobs, tmp_path / "scratch", layer)
    assert tree.identity(b"a") == tree.identity(b"b") == tree.identity(b"c") != tree.identity(b"d")
    assert content(tree, b"c") == b"same"
    assert tree.digest(b"b") == tree.digest(b"d")


def test_a_name_whose_file_was_replaced_is_another_file(blobs: LocalBlobs, tmp_path: Path):
    data = tars.member(b"x", b"old") + tars.member(b"h", b"", b"1", link=b"x") + tars.member(b"x", b"new") + tars.END
    tree = tree_over(blobs, tmp_path / "scratch", blobs.add_tar(data))
    assert tree.identity(b"x") != tree.identity(b"h")
    assert (content(tree, b"x"), content(tree, b"h")) == (b"new", b"old")


def test_what_is_no_file_has_no_content(blobs: LocalBlobs, tmp_path: Path):
    tree = tree_over(blobs, tmp_path / "scratch", blobs.must_add([folder("d")]))
    for ask in (tree.digest, tree.open):
        with pytest.raises(errors.LayerError, match="no file"):
            ask(b"d")
        with pytest.raises(errors.LayerError, match="there is no file /missing to copy"):
            ask(b"missing")


MOUNTINFO = rb"""22 1 0:21 / /proc rw - proc proc rw
23 1 0:22 / /dev rw - tmpfs tmpfs rw
24 23 0:23 / /dev/pts rw - devpts devpts rw
1 0 0:9 / / rw - overlay overlay rw
30 1 8:1 /hosts /etc/hosts ro - ext4 /dev/sda rw
31 1 8:1 /x /with\040space/and\011tab rw - ext4 /dev/sda rw
"""


def test_mount_points_are_read_as_the_kernel_writes_them(tmp_path: Path):
    (tmp_path / "mountinfo").write_bytes(MOUNTINFO)
    found = inplace.mount_points(Path("/"), tmp_path / "mountinfo")
    assert found == {b"proc", b"dev", b"dev/pts", b"etc/hosts", b"with space/and\ttab"}
    assert inplace.mount_points(Path("/dev"), tmp_path / "mountinfo") == {b"pts"}


def test_what_is_kept_is_kept_with_all_below_it():
    kept = inplace.Kept([b"etc/hosts", b"proc", b".strata"])
    assert [kept(path) for path in (b"proc", b"proc/1/fd", b"etc/hosts", b".strata/lib")] == [True] * 4
    assert [kept(path) for path in (b"etc", b"processes", b"", b"etc/hosts2")] == [False] * 4
    assert kept.above == {b"etc"}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, for the owners of what stays")
def test_a_root_in_place_takes_layers_and_leaves_what_is_kept(blobs: LocalBlobs, tmp_path: Path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "hosts").write_text("runtime")
    (root / "old" / "deep").mkdir(parents=True)
    stage = inplace.Stage(root, blobs, points=[b"etc/hosts"])
    first = blobs.must_add([folder("etc"), file("etc/hosts", b"image"), file("etc/f", b"f"), hard("etc/g", "etc/f")])
    stage.sync([first])
    assert not (root / "old").exists()
    assert (root / "etc" / "hosts").read_text() == "runtime"
    assert _changes(stage, blobs.view([first])) == ([], [])
    (root / "etc" / "g").write_text("G")
    assert _changes(stage, blobs.view([first])) == ([b"etc", b"etc/g"], [])
    assert (root / "etc" / "f").read_text() == "f"
    stage.sync([])
    assert sorted(p.name for p in (root / "etc").iterdir()) == ["hosts"]
    assert _changes(stage, blobs.view([])) == ([], [])  # /etc is there for the mount's sake alone


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, for the owners of what a layer holds")
def test_what_copy_brings_in_place_is_new_and_unchanged(blobs: LocalBlobs, tmp_path: Path):
    (tmp_path / "root").mkdir()
    stage = inplace.Stage(tmp_path / "root", blobs, points=[])
    base, copied = blobs.must_add([file("old", b"o", mtime=7)]), blobs.must_add([file("src", b"s", mtime=5)])
    began = time.time()
    stage.sync([base, copied], fresh=[copied.descriptor.digest])
    assert (tmp_path / "root" / "src").stat().st_mtime >= began - 0.1
    assert (tmp_path / "root" / "old").stat().st_mtime == 7
    assert _changes(stage, blobs.view([base, copied])) == ([], [])


def test_mount_points_go_unless_something_was_put_into_them(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "f").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("kept")
    os.utime(tmp_path, (5, 5))
    points.forget(tmp_path, [b"a", b"a/b", b"f", b"full", b"full/x", b"gone"])
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert tmp_path.stat().st_mtime == 5


def test_a_mount_point_that_became_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere")
    points.forget(tmp_path / "root", [b"a", b"a/f"])
    assert (tmp_path / "elsewhere" / "f").exists()


def test_trash_takes_away_at_once_and_is_empty_at_the_end(tmp_path: Path):
    (tmp_path / "d" / "x").mkdir(parents=True)
    (tmp_path / "f").touch()
    bin_ = trash.Trash(tmp_path / "trash")
    for name in ("d", "f", "not there"):
        bin_.throw(tmp_path / name)
        assert not (tmp_path / name).exists()
    bin_.close()
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_cannot_be_unpacked_leaves_nothing(blobs: LocalBlobs, tmp_path: Path):
    layer = blobs.must_add([file("f", b"x" * 1000)])
    place = blobs.folder / layer.descriptor.digest
    place.write_bytes(place.read_bytes()[:-20])
    found = lowers.Lowers(tmp_path / "scratch", blobs)
    with pytest.raises(errors.LayerError):
        found.over((), [layer])
    deadline = time.monotonic() + 5
    while any((tmp_path / "scratch" / "trash").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list((tmp_path / "scratch" / "lowers").iterdir()) == []
    found.close()
