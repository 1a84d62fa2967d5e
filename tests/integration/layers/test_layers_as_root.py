"""Layers with real owners, devices, capabilities and overlay mounts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import diff, index, pack, unpack
from strata_builder.layers.recorded import Skipped
from strata_builder.oci import mediatypes
from support import tars
from support.layertrees import Merged, file, folder, hard, link, packed, tree_of, unpacked

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
STRICT = {"owner": unpack.OwnerPolicy.STRICT}
TRUSTED = {"overlay": True, "opaque_xattr": "trusted.overlay.opaque", **STRICT}


@pytest.fixture(name="scratch")
def _scratch(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with extended attributes, that may hold overlay directories."""
    place = tmp_path / "scratch"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def overlay(scratch: Path, *lower: Path) -> Iterator[tuple[Path, Path]]:
    """(merged, upper) of a mount over `lower`, the topmost last."""
    for name in ("merged", "upper", "work"):
        shutil.rmtree(scratch / name, ignore_errors=True)
        (scratch / name).mkdir()
    names = ":".join(str(path) for path in reversed(lower))
    options = f"lowerdir={names},upperdir={scratch / 'upper'},workdir={scratch / 'work'},redirect_dir=off,metacopy=off"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, scratch / "merged"], check=True)
    try:
        yield scratch / "merged", scratch / "upper"
    finally:
        subprocess.run(["umount", scratch / "merged"], check=True)


def base_items() -> list[Item]:
    return [
        folder("a"),
        folder("a/b"),
        folder("a/b/c"),
        file("a/b/c/bar", b"1"),
        folder("keep", 0o1777),
        file("keep/k1", b"1"),
        file("keep/k2", b"2"),
        folder("deep"),
        folder("deep/er"),
        file("deep/er/x", b"x"),
        file("deep/er/y", b"y"),
        file("f", b"aaa", uid=1000, gid=1000),
        file("su", b"#!", 0o4755, uid=7, gid=8),
        file("ping", b"p", 0o755, xattrs=((b"security.capability", CAPABILITY),)),
        link("l", "f"),
        file("s1", b"linked"),
    ]


def test_owners_modes_capabilities_and_devices_are_those_of_the_layer(tmp_path: Path) -> None:
    items = [
        folder("d", 0o2755, uid=5, gid=6, mtime=9),
        file("d/su", b"x", 0o6755, uid=70_000, gid=70_001, xattrs=((b"security.capability", CAPABILITY),)),
        link("d/l", "su", uid=9, gid=9, mtime=5),
        Item(Entry(b"d/null", Kind.CHAR, 0o666, 1, 2, major=1, minor=3)),
        Item(Entry(b"d/disk", Kind.BLOCK, 0o640, major=8, minor=1)),
        Item(Entry(b"d/pipe", Kind.FIFO, 0o622, 3, 4)),
    ]
    layer = packed(tmp_path / "blob", items)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    unpacked(layer, ours, **STRICT)
    theirs.mkdir()
    command: list[str | Path] = ["tar", "--xattrs", "--xattrs-include=*", "-xpf", layer.blob, "-C", theirs]
    subprocess.run(command, check=True)
    assert tree_of(ours, owners=True) == tree_of(theirs, owners=True)
    assert os.getxattr(ours / "d/su", "security.capability") == CAPABILITY
    assert (ours / "d/su").stat().st_mode & 0o7777 == 0o6755
    repacked = diff.diff_walk(ours, Merged())
    assert packed(tmp_path / "again", *repacked).diff_id == layer.diff_id


@pytest.mark.parametrize("overlay", [True, False])
def test_neither_the_group_nor_the_acl_of_the_directory_decides_what_a_file_gets(tmp_path: Path, overlay: bool) -> None:
    """tmpfs and ext4 give a new file the group of a directory with its set-group-id bit, and what its default ACL says."""
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, 0, 12345)
    root.chmod(0o2755)
    # posix_acl_xattr(5): version 2, then tag, rights and id of each entry; here u::rw-, g::r--, o::---.
    acl = b"\2\0\0\0" + b"".join(bytes([tag, 0, rights, 0]) + b"\xff" * 4 for tag, rights in ((1, 6), (4, 4), (32, 0)))
    os.setxattr(root, "system.posix_acl_default", acl)
    items = [file(f"{folder}{n}", b"x", mode, uid=uid) for folder in ("", "d/") for n, (mode, uid) in enumerate(_OWNED)]
    unpacked(packed(tmp_path / "blob", items), root, owner=unpack.OwnerPolicy.STRICT, overlay=overlay)
    for item in items:
        found = (root / os.fsdecode(item.entry.path)).stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (item.entry.mode, item.entry.uid, item.entry.gid)


_OWNED = ((0o644, 0), (0o755, 0), (0o644, 1000), (0o4755, 0), (0o640, 0), (0o644, 0))
"""Modes and owners of files beside one another."""


def merge_of(scratch: Path, *layers: pack.PackedLayer) -> tuple[list[Path], Path, Merged]:
    """The layers as overlay directories and applied in place; and their merged view."""
    lowers, view = [], Merged()
    for number, layer in enumerate(layers):
        lowers.append(scratch / f"lower{number}")
        unpacked(layer, lowers[-1], lower=Merged(*(found.index for found in layers[:number])).lookup, **TRUSTED)
        unpacked(layer, scratch / "inplace", **STRICT)
        view.push(layer.index)
    return lowers, scratch / "inplace", view


def by_hand(where: Path, tar: bytes) -> pack.PackedLayer:
    """A layer that pack would not write."""
    where.write_bytes(tar)
    digest = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    with where.open("rb") as stream:
        contents = unpack.scan(stream)
    return pack.PackedLayer(digest, len(tar), mediatypes.OCI_LAYER, digest, len(tar), where, contents)


def test_an_overlay_of_layers_and_layers_applied_in_place_show_the_same(scratch: Path) -> None:
    layers = [
        packed(scratch / "b1", [*base_items(), folder("r"), file("r/old")]),
        packed(scratch / "b2", [folder("a"), folder("a/b"), file("a/b/foo")], [b"a/b/c", b"keep/k1", b"s1", b"r"]),
        packed(
            scratch / "b3",
            [folder("keep", 0o700), file("a/b/c/back"), file("deep/er/new", b"n"), file("l", b"no link")],
        ),
        packed(
            scratch / "b4",
            [folder("deep"), file("deep/f"), folder("r"), file("r/new")],
            [b"deep/er", b"never/was", b"r"],
        ),
    ]
    lowers, inplace, view = merge_of(scratch, *layers)
    with overlay(scratch, *lowers) as (merged, _):
        shown = tree_of(merged, owners=True)
        assert shown == tree_of(inplace, owners=True)
    assert sorted(shown) == sorted(os.fsdecode(path) for path in view.entries)
    assert shown["keep"][1] == 0o700
    assert "deep/er" not in shown
    assert "r/old" not in shown


def rm_and_remake(root: Path) -> None:
    shutil.rmtree(root / "a/b")
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/foo").write_bytes(b"2")


def copied_up_and_back(root: Path) -> None:
    found = (root / "f").stat()
    (root / "f").chmod(0o600)
    (root / "f").chmod(0o644)
    os.chown(root / "f", 0, 0)
    os.chown(root / "f", 1000, 1000)
    os.utime(root / "f", ns=(found.st_atime_ns, found.st_mtime_ns))


def link_twice(root: Path) -> None:
    os.link(root / "s1", root / "s2")
    os.link(root / "s1", root / "s3")


def folder_over_file(root: Path) -> None:
    (root / "f").unlink()
    (root / "f").mkdir()
    (root / "f/inside").write_bytes(b"")


def set_capability(root: Path) -> None:
    os.setxattr(root / "f", "security.capability", CAPABILITY)


def make_and_remove(root: Path) -> None:
    (root / "t").touch()
    (root / "t").unlink()


def move_over(root: Path) -> None:
    shutil.copytree(root / "deep", root / "copy", symlinks=True)
    shutil.rmtree(root / "a")
    (root / "copy").rename(root / "a")


STEPS: list[tuple[Callable[[Path], object], list[str]]] = [
    (rm_and_remake, ["d a", "d a/b", "d a/b/c", "- a/b/c/bar", "f a/b/c/foo"]),
    (lambda root: (root / "keep/k1").unlink(), ["d keep", "- keep/k1"]),
    (lambda root: shutil.rmtree(root / "keep"), ["- keep"]),
    (copied_up_and_back, []),
    (link_twice, ["f s2", "h s3"]),
    (folder_over_file, ["d f", "f f/inside"]),
    (set_capability, ["f f"]),
    (lambda root: os.chown(root / "f", 5, 1000), ["f f"]),
    (lambda root: os.chown(root / "su", 0, 0), ["f su"]),
    (lambda root: os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3)), ["c null"]),
    (make_and_remove, []),
    (move_over, ["d a", "- a/b", "d a/er", "f a/er/x", "f a/er/y"]),
]
LETTERS = {Kind.FILE: "f", Kind.DIR: "d", Kind.SYMLINK: "l", Kind.HARDLINK: "h", Kind.CHAR: "c"}


def shown(changes: diff.Changes) -> list[str]:
    items, whiteouts = changes
    found = [(item.entry.path, LETTERS[item.entry.kind]) for item in items] + [(path, "-") for path in whiteouts]
    return [
        f"{letter} {os.fsdecode(path)}" for path, letter in sorted(found, key=lambda pair: pair[0].replace(b"/", b"\0"))
    ]


@pytest.mark.parametrize(("step", "changes"), STEPS, ids=[str(n) for n in range(len(STEPS))])
def test_a_step_makes_the_same_change_set_over_an_overlay_and_in_place(
    scratch: Path, step: Callable[[Path], object], changes: list[str]
) -> None:
    lowers, inplace, view = merge_of(scratch, packed(scratch / "base", base_items()))
    with overlay(scratch, *lowers) as (merged, upper):
        step(merged)
        step(inplace)
        assert shown(diff.diff_upper(upper, view)) == changes
        assert shown(diff.diff_walk(inplace, view)) == changes
        assert shown(diff.diff_walk(merged, view)) == changes


def mutate(rng: random.Random, root: Path) -> None:
    everything = sorted(path for path in root.rglob("*") if not path.is_symlink())
    folders = [root, *(path for path in everything if path.is_dir())]
    chosen, target = rng.choice([root, *everything]), rng.choice(folders) / f"n{rng.randrange(30)}"
    action = rng.randrange(9)
    if action in (0, 1) and chosen != root:
        shutil.rmtree(chosen) if chosen.is_dir() else chosen.unlink()
    elif action == 2 and not target.exists():
        target.mkdir()
    elif action == 3 and chosen.is_file():
        chosen.write_bytes(rng.randbytes(rng.randint(0, 300)))
    elif action == 4 and chosen.is_file() and not target.exists():
        os.link(chosen, target)
    elif action == 5 and chosen != root:
        os.chown(chosen, rng.randint(0, 3), rng.randint(0, 3))
        chosen.chmod(rng.choice([0o755, 0o4711, 0o700]))
    elif action == 6 and not target.exists():
        target.write_bytes(rng.randbytes(30))
    elif action == 7 and chosen.is_file() and not target.exists():
        chosen.rename(target)
    elif action == 8 and chosen.is_dir() and chosen != root and target not in (chosen, *chosen.rglob("*")):
        shutil.rmtree(chosen)
        chosen.mkdir()


def settle(root: Path) -> None:
    """The same times in both trees: which second a step ran in is not what is compared."""
    for path in root.rglob("*"):
        if path.lstat().st_mtime > 10**9:
            os.utime(path, (10**9, 10**9), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(15))
def test_random_steps_give_the_same_layers_and_the_same_trees_everywhere(scratch: Path, seed: int) -> None:
    layers = [packed(scratch / "base", base_items())]
    for number in range(3):
        for path in scratch.glob("lower*"):
            shutil.rmtree(path)
        shutil.rmtree(scratch / "inplace", ignore_errors=True)
        lowers, inplace, view = merge_of(scratch, *layers)
        with overlay(scratch, *lowers) as (merged, upper):
            for root in (merged, inplace):
                rng = random.Random(100 * seed + number)
                for _ in range(10):
                    mutate(rng, root)
                settle(root)
            one, two = diff.diff_upper(upper, view), diff.diff_walk(inplace, view)
            assert (shown(one), one[1]) == (shown(two), two[1])
            first, second = (pack.pack(*changes, blob=scratch / f"step{number}") for changes in (one, two))
            assert (first and first.digest) == (second and second.digest)
            if first is not None:
                layers.append(first)
            expected = tree_of(merged, owners=True)
        applied = scratch / f"applied{number}"
        for layer in layers:
            unpacked(layer, applied, **STRICT)
        without_links = {path: value for path, value in tree_of(applied, owners=True).items() if "links of" not in path}
        assert without_links == {path: value for path, value in expected.items() if "links of" not in path}


IN_NAMESPACE = """
import json, os, sys
from pathlib import Path
from strata_builder.layers import diff, unpack
place = Path(sys.argv[1])
skipped = []
(place / "root").mkdir()
os.chown(place / "root", 0, 7)
(place / "root").chmod(0o2777)  # as a volume of a pod with fsGroup: what is made in it gets its group
with open(place / "blob", "rb") as stream:
    record = unpack.OwnerPolicy.RECORD
    found = unpack.unpack_to(stream, "", place / "root", overlay=False, owner=record, skipped=skipped)
class View:
    lookup = staticmethod(found.shown)
    children = staticmethod(found.children)
plain = diff.diff_walk(place / "root", View)
told = diff.diff_walk(place / "root", View, unset=skipped)
print(json.dumps([[s.path.decode() + ":" + s.what for s in skipped], sum(map(len, plain)), sum(map(len, told))]))
"""


def test_owners_and_devices_that_a_user_namespace_cannot_hold_travel_as_metadata(tmp_path: Path) -> None:
    items = [
        file("big", b"x", 0o4755, uid=70_000, gid=70_000),
        file("small", b"y", 0o755, uid=5, gid=5, xattrs=((b"trusted.mark", b"1"),)),
        Item(Entry(b"null", Kind.CHAR, 0o666, major=1, minor=3)),
    ]
    packed(tmp_path / "blob", items)
    run = f"{sys.executable} -c '{IN_NAMESPACE}' {tmp_path}"
    process = subprocess.Popen(
        ["unshare", "-U", "sh", "-c", 'read go; exec setpriv --reuid 0 --regid 0 --clear-groups sh -c "$0"', run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while os.readlink(f"/proc/{process.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        pass
    Path(f"/proc/{process.pid}/uid_map").write_text("0 0 65536\n")
    Path(f"/proc/{process.pid}/gid_map").write_text("0 0 65536\n")
    out, _ = process.communicate("go\n", timeout=60)
    assert process.returncode == 0
    skipped, plain, told = json.loads(out)
    assert sorted(skipped) == ["big:owner", "null:device", "small:attribute trusted.mark"]
    assert (plain, told) == (3, 0)


def test_a_mount_whose_upper_does_not_hold_the_content_is_refused(scratch: Path) -> None:
    lowers, _, view = merge_of(scratch, packed(scratch / "base", base_items()))
    with overlay(scratch, *lowers) as (_, upper):
        (upper / "moved").mkdir()
        os.setxattr(upper / "moved", "trusted.overlay.redirect", b"/deep")
        with pytest.raises(errors.LayerError, match="mount the overlay with redirect_dir=off"):
            diff.diff_upper(upper, view)


def test_a_device_that_an_overlay_takes_for_a_deletion_is_one_without_overlays_too(scratch: Path) -> None:
    lower = packed(scratch / "base", [folder("d"), file("d/gone", b"1"), file("d/kept", b"2")])
    mark = tars.member(b"d/gone", b"", b"3", major=b"0000000", minor=b"0000000")
    stray = tars.member(b"d/never", b"", b"3", major=b"0000000", minor=b"0000000")
    upper = by_hand(scratch / "upper.tar", mark + stray + tars.END)
    lowers, inplace, view = merge_of(scratch, lower, upper)
    assert view.lookup(b"d/gone") is None
    with overlay(scratch, *lowers) as (merged, _):
        assert os.listdir(merged / "d") == os.listdir(inplace / "d") == ["kept"]
        assert shown(diff.diff_walk(inplace, view)) == []


def test_access_times_are_left_alone(scratch: Path) -> None:
    unpacked(packed(scratch / "blob", [file("f", b"x" * 9000)]), scratch / "root", **STRICT)
    os.utime(scratch / "root/f", (5, 10))
    items, _ = diff.diff_walk(scratch / "root", Merged())
    packed(scratch / "again", items)
    assert (scratch / "root/f").stat().st_atime == 5


def test_hard_links_of_a_lower_layer_are_one_file_in_an_overlay_and_none_of_it_is_a_change(scratch: Path) -> None:
    layer = packed(scratch / "base", [file("a", b"x"), hard("b", "a")])
    lowers, inplace, view = merge_of(scratch, layer)
    assert isinstance(layer.index, index.Index)
    assert (inplace / "a").samefile(inplace / "b")
    with overlay(scratch, *lowers) as (merged, upper):
        (merged / "b").chmod(0o600)
        assert shown(diff.diff_upper(upper, view)) == ["f b"]
    skipped: list[Skipped] = []
    assert shown(diff.diff_walk(inplace, view, unset=skipped)) == []
