"""Layers written into a directory: faithfully, and never outside it."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from strata_builder import contents, errors
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import index, indexfile, pack, paths, unpack
from strata_builder.layers.recorded import Skipped
from strata_builder.layers.source import Limits
from support import tars
from support.layertrees import file, folder, hard, link, packed, tree_of, unpacked


def unpack_bytes(data: bytes, root: Path, **options: object) -> index.Index:
    given = {"overlay": False, "owner": unpack.OwnerPolicy.IGNORE, **options}
    return unpack.unpack_to(io.BytesIO(data), "", root, **given)  # type: ignore[arg-type]


def random_tree(rng: random.Random) -> list[Item]:
    folders, items = [""], []
    for number in range(rng.randint(1, 25)):
        name = rng.choice(["f", "é", "sp ace", "-x", "N" * 150, "new\nline", "!"]) + str(number)
        path = "/".join(part for part in (rng.choice(folders), name) if part)
        mode, mtime = rng.choice([0o644, 0o755, 0o600, 0o4755, 0o1777]), rng.randint(0, 2**31)
        kind = rng.random()
        if kind < 0.35:
            folders.append(path)
            items.append(folder(path, mode | 0o700, mtime=mtime))
        elif kind < 0.5:
            items.append(link(path, rng.choice(["/etc", "../..", "x" * 180]), mtime=mtime))
        elif kind < 0.6 and any(item.open for item in items):
            target = rng.choice([item.entry for item in items if item.open])
            items.append(hard(path, target.path.decode(), mtime=target.mtime))
        elif kind < 0.65:
            items.append(Item(Entry(path.encode(), Kind.FIFO, mode, mtime=mtime)))
        else:
            content = rng.randbytes(rng.choice([0, 1, 511, 512, 9000]))
            items.append(file(path, content + bytes(rng.choice([0, 0, 70_000])), mode, mtime=mtime))
    return items


@pytest.mark.parametrize("seed", range(25))
def test_what_is_packed_comes_back_as_gnu_tar_has_it(tmp_path: Path, seed: int) -> None:
    layer = packed(
        tmp_path / "blob", random_tree(random.Random(seed)), compression=random.Random(seed).choice(["gzip", "none"])
    )
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    found = unpacked(layer, ours)
    theirs.mkdir()
    subprocess.run(["tar", "-xpf", layer.blob, "-C", theirs, "--no-same-owner"], check=True)
    assert tree_of(ours) == tree_of(theirs)
    assert indexfile.encode(found) == indexfile.encode(layer.index)
    directories = [entry for entry in found if entry.kind is Kind.DIR]
    assert all(
        int(Path(os.fsdecode(os.fsencode(ours) + b"/" + e.path)).stat().st_mtime) == e.mtime for e in directories
    )


def outside(tmp_path: Path) -> Path:
    """A directory beside the root, which no archive may touch."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "kept").write_bytes(b"kept")
    (tmp_path / "root").mkdir()
    return place


@pytest.mark.parametrize(
    "data",
    [
        tars.member(b"../outside/evil", b"x"),
        tars.member(b"a/../../outside/evil", b"x"),
        tars.member(b"/../outside/evil", b"x"),
        tars.member(b"d/", b"", b"5") + tars.member(b"d/../../outside/evil", b"x"),
        tars.member(b"../outside/.wh.kept"),
        tars.member(b"l", b"", b"2", link=b"../outside") + tars.member(b"l", b"", b"5") + tars.member(b"l/kept", b"x"),
    ],
)
def test_names_that_climb_stay_below_the_root(tmp_path: Path, data: bytes) -> None:
    place = outside(tmp_path)
    unpack_bytes(data + tars.END, tmp_path / "root")
    assert [(path.name, path.read_bytes()) for path in place.iterdir()] == [("kept", b"kept")]


@pytest.mark.parametrize(
    ("data", "entry"),
    [
        (tars.member(b"l", b"", b"2", link=b"../outside") + tars.member(b"l/evil", b"x"), "'l/evil'"),
        (tars.member(b"l", b"", b"2", link=b"../outside") + tars.member(b"l/kept", b"", b"1", link=b"l"), "'l/kept'"),
        (tars.member(b"l", b"", b"2", link=b"../outside") + tars.member(b"l/d/", b"", b"5"), "'l/d'"),
        (tars.member(b"h", b"", b"1", link=b"../outside/kept"), "'h'"),
        (tars.member(b"h", b"", b"1", link=b"/etc/passwd"), "'h'"),
        (tars.member(b"h", b"", b"1", link=b"h"), "'h'"),
        (tars.member(b"f", b"x") + tars.member(b"f/below", b"x"), "'f/below'"),
        (tars.member(b"d/below", b"x") + tars.member(b"d", b"x"), "'d/below'"),
    ],
)
def test_entries_that_reach_through_links_are_refused_by_name(tmp_path: Path, data: bytes, entry: str) -> None:
    place = outside(tmp_path)
    with pytest.raises(errors.LayerError) as caught:
        unpack_bytes(data + tars.END, tmp_path / "root")
    assert entry.rstrip("'") in str(caught.value)
    assert [(path.name, path.read_bytes()) for path in place.iterdir()] == [("kept", b"kept")]
    with pytest.raises(errors.LayerError):
        unpack.scan(io.BytesIO(data + tars.END))


def test_a_link_that_is_there_already_is_never_followed(tmp_path: Path) -> None:
    place = outside(tmp_path)
    root = tmp_path / "root"
    (root / "dir").symlink_to(place)
    (root / "file").symlink_to(place / "kept")
    (root / "gone").symlink_to(place)
    data = tars.member(b"dir/kept", b"x") + tars.member(b"file", b"y") + tars.member(b"gone/.wh.kept") + tars.END
    unpack_bytes(data, root)
    assert (place / "kept").read_bytes() == b"kept"
    assert (root / "dir/kept").read_bytes() == b"x"
    assert (root / "file").read_bytes() == b"y"
    assert not (root / "dir").is_symlink()
    assert (root / "gone").is_symlink()


def test_layers_over_one_root_delete_what_they_hide(tmp_path: Path) -> None:
    root = tmp_path / "root"
    items = [folder("d"), folder("d/sub"), file("d/sub/x"), file("d/keep"), folder("o"), file("o/old"), file("top")]
    unpacked(packed(tmp_path / "1", items), root)
    unpacked(packed(tmp_path / "2", [folder("d"), file("d/new")], [b"d/sub", b"top", b"never/was"]), root)
    unpack_bytes(tars.member(b"o/.wh..wh..opq") + tars.member(b"o/new") + tars.END, root)
    shown = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    assert shown == {"d", "d/keep", "d/new", "o", "o/new"}


@pytest.mark.parametrize("order", [0, 1])
def test_a_whiteout_hides_only_lower_layers_wherever_it_stands(tmp_path: Path, order: int) -> None:
    root = tmp_path / "root"
    unpacked(packed(tmp_path / "1", [folder("d"), file("d/old"), file("d/both", b"old")]), root)
    parts = [tars.member(b".wh.d"), tars.member(b"d/", b"", b"5", mode=b"0000755") + tars.member(b"d/both", b"new")]
    found = unpack_bytes(b"".join(parts[:: -1 if order else 1]) + tars.END, root)
    assert {path.name: path.read_bytes() for path in (root / "d").iterdir()} == {"both": b"new"}
    assert found.whiteouts == (b"d",)


def test_a_type_change_replaces_what_was_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    items = [folder("dir"), file("dir/x"), file("file"), link("link", "/etc"), folder("same", 0o700), file("same/kept")]
    unpacked(packed(tmp_path / "1", items), root)
    later = [file("dir", b"1"), folder("file"), folder("link"), folder("same", 0o755)]
    unpacked(packed(tmp_path / "2", later), root)
    assert (root / "dir").read_bytes() == b"1"
    assert (root / "file").is_dir()
    assert (root / "link").is_dir()
    assert not (root / "link").is_symlink()
    assert (root / "same/kept").exists()
    assert (root / "same").stat().st_mode & 0o7777 == 0o755


def test_a_replaced_file_does_not_change_its_other_names(tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpacked(packed(tmp_path / "1", [file("a", b"old"), hard("b", "a")]), root)
    unpacked(packed(tmp_path / "2", [file("a", b"new")]), root)
    assert ((root / "a").read_bytes(), (root / "b").read_bytes()) == (b"new", b"old")


def test_directories_keep_the_times_of_the_layer_that_spoke_of_them_last(tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpacked(packed(tmp_path / "1", [folder("d", mtime=100), folder("d/e", mtime=200), file("d/e/x")]), root)
    unpack_bytes(tars.member(b"d/e/new") + tars.member(b"d/e/.wh.x") + tars.END, root)
    assert ((root / "d").stat().st_mtime, (root / "d/e").stat().st_mtime) == (100, 200)


def test_parents_that_a_layer_does_not_hold_are_those_of_the_layers_below(tmp_path: Path) -> None:
    below = {b"srv": Entry(b"srv", Kind.DIR, 0o1777, mtime=77), b"srv/x": Entry(b"srv/x", Kind.FILE, 0o600)}
    (tmp_path / "root").mkdir()
    unpack_bytes(tars.member(b"srv/x/f") + tars.END, tmp_path / "root", lower=below.get)
    srv, inner = (tmp_path / "root/srv").stat(), (tmp_path / "root/srv/x").stat()
    assert (srv.st_mode & 0o7777, srv.st_mtime, inner.st_mode & 0o7777) == (0o1777, 77, 0o755)


@pytest.mark.parametrize("mark", [b"srv/.wh.d", b"srv/.wh..wh..opq", b".wh.srv"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("overlay", [True, False])
def test_parents_that_a_layer_hides_and_uses_again_are_new(
    tmp_path: Path, mark: bytes, first: bool, overlay: bool
) -> None:
    root = tmp_path / "root"
    lower = [folder("srv", 0o700), folder("srv/d", 0o700, mtime=77), file("srv/d/old")]
    if overlay:
        root.mkdir()
    else:
        unpacked(packed(tmp_path / "1", lower), root)
    entries = [tars.member(mark), tars.member(b"srv/d/new")]
    data = b"".join(entries if first else reversed(entries)) + tars.END
    below = {item.entry.path: item.entry for item in lower}
    unpack_bytes(data, root, lower=below.get, overlay=overlay)
    assert sorted(path.name for path in (root / "srv/d").iterdir()) == ["new"]
    assert (root / "srv/d").stat().st_mode & 0o7777 == 0o755


def test_attributes_of_a_directory_are_those_of_the_layer_that_spoke_of_it_last(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one = [folder("d", xattrs=((b"user.a", b"1"), (b"user.b", b"2"))), folder("e", xattrs=((b"user.a", b"1"),))]
    unpacked(packed(tmp_path / "1", one), root)
    if not os.listxattr(root / "d"):
        pytest.skip("no user attributes on this file system")
    unpacked(packed(tmp_path / "2", [folder("d", xattrs=((b"user.b", b"3"),)), file("e/f")]), root)
    assert {name: os.getxattr(root / "d", name) for name in os.listxattr(root / "d")} == {"user.b": b"3"}
    assert os.listxattr(root / "e") == ["user.a"]


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_umask_plays_no_part(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        unpacked(packed(tmp_path / "b", [folder("d", 0o755), file("d/f", b"", 0o666), file("x/y")]), tmp_path / "root")
        modes = {path.name: path.stat().st_mode & 0o7777 for path in (tmp_path / "root").rglob("*")}
        assert modes == {"d": 0o755, "f": 0o666, "x": 0o755, "y": 0o644}
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_zeros_become_holes(tmp_path: Path) -> None:
    content = b"head" + bytes(20 << 20) + b"tail" + bytes(5 << 20)
    unpacked(packed(tmp_path / "blob", [file("f", content)]), tmp_path / "root")
    assert (tmp_path / "root/f").read_bytes() == content
    assert (tmp_path / "root/f").stat().st_blocks * 512 < 4 << 20


def test_links_can_be_written_as_files_of_their_own(tmp_path: Path) -> None:
    items = [file("a", b"content", 0o640, mtime=9), hard("b", "a"), hard("c", "b")]
    items[2] = hard("c", "a")
    seen: dict[bytes, tuple[int, int, str]] = {}

    def note(entry: Entry, found: os.stat_result) -> None:
        seen[entry.path] = (found.st_ino, found.st_ctime_ns, entry.digest)

    unpacked(packed(tmp_path / "blob", items), tmp_path / "root", copy_links=True, on_entry=note)
    digest = contents.digest(b"content")
    for name in ("a", "b", "c"):
        found = (tmp_path / "root" / name).stat()
        assert (found.st_nlink, found.st_mode & 0o7777, found.st_mtime) == (1, 0o640, 9)
        assert seen[name.encode()] == (found.st_ino, found.st_ctime_ns, digest)


def test_paths_to_be_left_alone_are_known_but_not_written(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_bytes(b"mounted")
    data = tars.member(b"etc/hosts", b"layer") + tars.member(b"etc/x") + tars.member(b".wh.etc") + tars.END
    found = unpack_bytes(data, root, skip=lambda path: path == b"etc/hosts")
    assert (root / "etc/hosts").read_bytes() == b"mounted"
    known = found.lookup(b"etc/hosts")
    assert known is not None
    assert known.digest == contents.digest(b"layer")


def test_damage_to_the_end_of_a_layer_is_found_by_its_diff_id(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(errors.LayerError, match="the image's config says"):
        unpack_bytes(tars.member(b"a") + tars.END, tmp_path / "root", diff_id="sha256:" + "0" * 64)


def test_a_disk_that_is_not_to_be_filled_is_not(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    data = packed(tmp_path / "blob", [file("zeros", bytes(30 << 20))]).blob.read_bytes()
    with pytest.raises(errors.LayerError, match="larger than 1048576 bytes"):
        unpack_bytes(data, tmp_path / "root", limits=Limits(total=1 << 20))
    assert (tmp_path / "root/zeros").stat().st_size <= 2 << 20


def test_deep_directories_need_neither_stack_nor_descriptors(tmp_path: Path) -> None:
    deep = b"/".join([b"d"] * 1100)
    root = tmp_path / "root"
    root.mkdir()
    unpack_bytes(tars.pax(path=deep + b"/f") + tars.member(b"x", b"deep") + tars.END, root)
    unpack_bytes(tars.pax(path=deep + b"/g") + tars.member(b"x", b"deep") + tars.END, root)
    unpack_bytes(tars.member(b".wh.d") + tars.END, root)
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may do all of it")
def test_what_the_kernel_refuses_is_an_error_or_recorded(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", [file("f", b"", 0o4755, uid=12345), Item(Entry(b"c", Kind.CHAR, 0o600, major=1))])
    with pytest.raises(errors.LayerError, match="the device of 'c' cannot be set here"):
        unpacked(layer, tmp_path / "strict", owner=unpack.OwnerPolicy.STRICT)
    skipped: list[Skipped] = []
    unpacked(layer, tmp_path / "record", owner=unpack.OwnerPolicy.RECORD, skipped=skipped)
    assert [(item.path, item.what) for item in skipped] == [(b"c", "device"), (b"f", "owner")]
    assert (tmp_path / "record/f").stat().st_mode & 0o7777 == 0o755


MEMORY = """
import resource, sys
from pathlib import Path
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import pack, unpack
place, compression = Path(sys.argv[1]), sys.argv[2]
with (place / "big").open("wb") as big:
    big.truncate(300 << 20)
item = Item(Entry(b"big", Kind.FILE, 0o644, size=300 << 20), lambda: open(place / "big", "rb", buffering=0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layer = pack.pack([item], blob=place / "blob", compression=compression)
with open(place / "blob", "rb") as stream:
    assert len(unpack.scan(stream, layer.media_type, layer.diff_id)) == 1
(place / "root").mkdir()
with open(place / "blob", "rb") as stream:
    unpack.unpack_to(stream, layer.media_type, place / "root", overlay=False, owner=unpack.OwnerPolicy.IGNORE)
assert (place / "root/big").stat().st_blocks * 512 < 1 << 16
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_memory_does_not_grow_with_the_layer(tmp_path: Path, compression: str) -> None:
    command: list[str | Path] = [sys.executable, "-c", MEMORY, tmp_path, compression]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 48  # MiB


def test_the_order_of_a_walk_is_the_order_of_a_layer(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", random_tree(random.Random(99)))
    found = [entry.path for entry in layer.index]
    assert found == sorted(found, key=paths.order)
    assert sorted(layer.index.paths()) == sorted(found)
    assert isinstance(layer, pack.PackedLayer)


@pytest.mark.parametrize("policy", unpack.OwnerPolicy)
@pytest.mark.parametrize("kind", [b"0", b"5"])
@pytest.mark.parametrize(("name", "size"), [("a" * 251, 1), ("a", 1 << 16 | 1)])
def test_an_attribute_that_no_linux_takes_is_refused_with_its_file(
    tmp_path: Path, policy: unpack.OwnerPolicy, kind: bytes, name: str, size: int
) -> None:
    own = {"uid": b"%d" % os.geteuid(), "gid": b"%d" % os.getegid()}
    data = tars.pax(**{f"SCHILY__xattr__user__{name}": b"v" * size, **own}) + tars.member(b"odd", b"", kind) + tars.END
    with pytest.raises(errors.LayerError, match=f"attribute user.{name} of .odd. is larger than Linux takes"):
        unpack_bytes(data, tmp_path, owner=policy)
