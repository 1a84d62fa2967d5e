"""What counts as a change, over a full walk; the same rule over real overlay mounts is tested as root."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import diff, paths, walk
from strata_builder.layers.recorded import Skipped, completed
from support.apart import apart
from support.layertrees import Merged, file, folder, hard, link, packed, tree_of, unpacked

ME = {"uid": os.getuid(), "gid": os.getgid()}
TIME = 1_500_000_000


def base(tmp_path: Path) -> tuple[Path, Merged]:
    """A tree on disk and what the layers say of it."""
    items = [
        folder("d", mtime=TIME, **ME),
        folder("d/sub", mtime=TIME, **ME),
        file("d/sub/one", b"one", mtime=TIME, **ME),
        file("d/sub/two", b"two", mtime=TIME, **ME),
        file("f", b"aaa", mtime=TIME, **ME),
        link("l", "f", mtime=TIME, **ME),
        file("su", b"x", 0o4755, mtime=TIME, **ME),
        folder("keep", mtime=TIME, **ME),
        file("keep/k", b"k", mtime=TIME, **ME),
    ]
    layer = packed(tmp_path / "base.blob", items)
    unpacked(layer, tmp_path / "root", overlay=False)
    return tmp_path / "root", Merged(layer.index)


def shown(changes: diff.Changes) -> list[str]:
    """Each change as `kind path`, whiteouts as `- path`."""
    letters = {Kind.FILE: "f", Kind.DIR: "d", Kind.SYMLINK: "l", Kind.HARDLINK: "h", Kind.FIFO: "p"}
    items, whiteouts = changes
    found = [(item.entry.path, f"{letters[item.entry.kind]} {os.fsdecode(item.entry.path)}") for item in items]
    found += [(path, f"- {os.fsdecode(path)}") for path in whiteouts]
    return [text for _, text in sorted(found, key=lambda pair: paths.order(pair[0]))]


def settle(path: Path) -> None:
    os.utime(path, (TIME, TIME), follow_symlinks=False)


def rewrite(root: Path) -> None:
    (root / "f").write_bytes(b"bbb")
    settle(root / "f")


def replace_folder(root: Path) -> None:
    shutil.rmtree(root / "d/sub")
    (root / "d/sub").mkdir(0o755)
    (root / "d/sub/three").write_bytes(b"3")


def become_file(root: Path) -> None:
    shutil.rmtree(root / "d")
    (root / "d").write_bytes(b"")


def move(root: Path) -> None:
    (root / "d").rename(root / "z")


def make_and_remove(root: Path) -> None:
    (root / "tmpf").touch()
    (root / "tmpf").unlink()


def there_and_back(root: Path) -> None:
    (root / "f").chmod(0o600)
    (root / "f").write_bytes(b"bbb")
    (root / "f").write_bytes(b"aaa")
    (root / "f").chmod(0o644)
    settle(root / "f")


def retarget(root: Path) -> None:
    (root / "l").unlink()
    (root / "l").symlink_to("su")
    settle(root / "l")


def link_to_old(root: Path) -> None:
    for name in ("n1", "n2"):
        os.link(root / "f", root / name)


def socket_instead(root: Path) -> None:
    (root / "f").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)
        try:
            server.bind("f")
            server_two = socket.socket(socket.AF_UNIX)
            server_two.bind("new.sock")
            server_two.close()
        finally:
            os.chdir(here)


STEPS: list[tuple[Callable[[Path], object], list[str]]] = [
    (lambda _: None, []),
    (rewrite, ["f f"]),
    (lambda root: settle(root / "f"), []),
    (lambda root: os.utime(root / "f", (TIME + 1, TIME + 1)), ["f f"]),
    (lambda root: os.utime(root / "f", ns=(TIME * 10**9 + 5, TIME * 10**9 + 5)), []),
    (lambda root: os.utime(root / "keep", (5, 5)), []),
    (lambda root: (root / "su").chmod(0o755), ["f su"]),
    (lambda root: (root / "d/sub").chmod(0o700), ["d d", "d d/sub"]),
    (lambda root: (root / "d/sub/one").unlink(), ["d d", "d d/sub", "- d/sub/one"]),
    (lambda root: shutil.rmtree(root / "d"), ["- d"]),
    (replace_folder, ["d d", "d d/sub", "- d/sub/one", "f d/sub/three", "- d/sub/two"]),
    (become_file, ["f d"]),
    (move, ["- d", "d z", "d z/sub", "f z/sub/one", "f z/sub/two"]),
    (make_and_remove, []),
    (there_and_back, []),
    (link_to_old, ["f n1", "h n2"]),
    (retarget, ["l l"]),
    (socket_instead, ["- f"]),
    (lambda root: os.mkfifo(root / "p"), ["p p"]),
    (lambda root: (root / "keep/empty").mkdir(), ["d keep", "d keep/empty"]),
]


@pytest.mark.parametrize(("step", "changes"), STEPS, ids=[f"{n}" for n in range(len(STEPS))])
def test_a_step_changes_exactly_this(tmp_path: Path, step: Callable[[Path], object], changes: list[str]) -> None:
    root, view = base(tmp_path)
    step(root)
    assert shown(diff.diff_walk(root, view)) == changes


def test_parents_of_a_change_carry_their_true_metadata(tmp_path: Path) -> None:
    root, _ = base(tmp_path)
    (root / "d").chmod(0o1777)
    view = Merged(packed(tmp_path / "x", [folder("d", 0o1777, **ME), folder("d/sub", **ME), file("f")]).index)
    (root / "d/sub/new").write_bytes(b"")
    items = {item.entry.path: item.entry for item in diff.diff_walk(root, view)[0]}
    assert items[b"d"].mode == 0o1777


def test_content_decides_where_size_and_time_agree_unless_inode_and_ctime_are_known(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    rewrite(root)
    found = (root / "f").stat()
    old = view.entries[b"f"].digest
    assert shown(diff.diff_walk(root, view)) == ["f f"]
    assert shown(diff.diff_walk(root, view, known={(found.st_ino, found.st_ctime_ns): old})) == []
    assert shown(diff.diff_walk(root, view, known={(found.st_ino, found.st_ctime_ns - 1): old})) == ["f f"]


def test_skipped_paths_are_neither_changed_nor_missing(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    rewrite(root)
    (root / "su").unlink()
    (root / "proc").mkdir()
    (root / "proc/1").mkdir()
    skipped = {b"f", b"su", b"proc"}
    assert shown(diff.diff_walk(root, view, skip=skipped.__contains__)) == []


def test_later_times_are_lowered_in_the_layer_and_stay_no_change_afterwards(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    (root / "new").write_bytes(b"n")
    (items, whiteouts) = diff.diff_walk(root, view, clamp_mtime=TIME + 10)
    assert [(item.entry.path, item.entry.mtime) for item in items] == [(b"new", TIME + 10)]
    assert whiteouts == []
    layer = packed(tmp_path / "blob", items)
    view.entries[b"new"] = next(iter(layer.index))
    assert shown(diff.diff_walk(root, view, clamp_mtime=TIME + 10)) == []
    assert shown(diff.diff_walk(root, view, clamp_mtime=TIME - 10)) == ["f new"]


def test_a_base_newer_than_the_lowered_time_is_no_change(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    assert shown(diff.diff_walk(root, view, clamp_mtime=TIME - 100)) == []


def test_attributes_are_compared(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    try:
        os.setxattr(root / "f", "user.mine", b"\0\xff")
    except OSError:
        pytest.skip("no user attributes on this file system")
    (items, _) = diff.diff_walk(root, view)
    assert [(item.entry.path, item.entry.xattrs) for item in items] == [(b"f", ((b"user.mine", b"\0\xff"),))]


def test_the_root_is_compared_only_if_a_layer_speaks_of_it(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    root.chmod(0o700)
    assert shown(diff.diff_walk(root, view)) == []
    view.entries[b""] = Entry(b"", Kind.DIR, 0o755, ME["uid"], ME["gid"])
    assert shown(diff.diff_walk(root, view)) == ["d "]


def test_a_hard_link_in_a_lower_layer_is_the_file_that_it_shows(tmp_path: Path) -> None:
    layer = packed(tmp_path / "b", [file("a", b"x", mtime=TIME, **ME), hard("b", "a", mtime=TIME, **ME)])
    unpacked(layer, tmp_path / "root", copy_links=True)
    assert shown(diff.diff_walk(tmp_path / "root", Merged(layer.index))) == []


def test_what_could_not_be_unpacked_is_no_change_but_what_a_step_did_since_is() -> None:
    lower = Entry(b"f", Kind.FILE, 0o4755, 70_000, 70_000, xattrs=((b"trusted.x", b"1"),))
    on_disk = Entry(b"f", Kind.FILE, 0o755)
    assert completed(on_disk, lower, {"owner", "attribute trusted.x"}) == lower
    assert completed(Entry(b"f", Kind.FILE, 0o700), lower, {"owner"}).mode == 0o700
    assert completed(Entry(b"f", Kind.FILE, 0o755, 5, 5), lower, {"owner"}).uid == 5


def test_a_device_that_could_not_be_made_is_not_missing(tmp_path: Path) -> None:
    root, view = base(tmp_path)
    view.entries[b"null"] = Entry(b"null", Kind.CHAR, 0o666, major=1, minor=3)
    assert shown(diff.diff_walk(root, view)) == ["- null"]
    assert shown(diff.diff_walk(root, view, unset=[Skipped(b"null", "device", "")])) == []


def mutate(rng: random.Random, root: Path) -> None:
    everything = [path for path in root.rglob("*") if not path.is_symlink()]
    folders = [root, *(path for path in everything if path.is_dir())]
    chosen = rng.choice(everything) if everything else root
    action = rng.randrange(7)
    if action == 0 and chosen != root:
        shutil.rmtree(chosen) if chosen.is_dir() else chosen.unlink()
    elif action == 1:
        (rng.choice(folders) / f"n{rng.randrange(99)}").mkdir(exist_ok=True, mode=rng.choice([0o755, 0o711]))
    elif action == 2 and chosen.is_file():
        chosen.write_bytes(rng.randbytes(rng.randint(0, 2000)))
    elif action == 3 and chosen.is_file():
        os.link(chosen, rng.choice(folders) / f"h{rng.randrange(10**6)}")
    elif action == 4 and chosen != root:
        chosen.chmod(rng.choice([0o755, 0o700, 0o744]))
    elif action == 5:
        (rng.choice(folders) / f"f{rng.randrange(10**6)}").write_bytes(rng.randbytes(300))
    elif chosen != root and chosen.exists():
        target = rng.choice(folders) / f"m{rng.randrange(10**6)}"
        if chosen not in (target, *target.parents):
            chosen.rename(target)


def unlinked(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without which names share an inode: over layers that is not kept."""
    return {path: value for path, value in tree.items() if not path.startswith("links of ")}


@pytest.mark.parametrize("seed", range(20))
def test_applying_a_difference_to_the_old_tree_gives_the_new_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root, view = base(tmp_path)
    copies = tmp_path / "copy"
    unpacked(packed(tmp_path / "again", as_items(root)), copies)
    for _ in range(4):
        for _ in range(rng.randint(1, 8)):
            mutate(rng, root)
        items, whiteouts = diff.diff_walk(root, view)
        if items or whiteouts:
            layer = packed(tmp_path / "step", items, whiteouts)
            unpacked(layer, copies)
            view = merged_onto(view, layer)
        assert unlinked(tree_of(copies)) == unlinked(tree_of(root))
        assert shown(diff.diff_walk(root, view)) == []


def merged_onto(view: Merged, layer: object) -> Merged:
    view.push(layer.index)  # type: ignore[attr-defined]
    return view


def as_items(root: Path) -> list[Item]:
    def opener(path: bytes) -> Callable[[], object]:
        return lambda: open(os.fsencode(root) + b"/" + path, "rb", buffering=0)

    return [Item(entry, opener(entry.path) if entry.kind is Kind.FILE else None) for entry in walk.walk(root)]  # type: ignore[arg-type]


def test_a_walk_gives_parents_first_sorted_without_sockets_and_pruned(tmp_path: Path) -> None:
    root, _ = base(tmp_path)
    socket_instead(root)
    found = [entry.path for entry in walk.walk(root, prune=lambda path: path == b"d/sub")]
    assert found == [b"d", b"keep", b"keep/k", b"l", b"su"]


def test_files_are_opened_below_a_root_without_following_links(tmp_path: Path) -> None:
    root, _ = base(tmp_path)
    (root / "dirlink").symlink_to("d")
    fd = os.open(root, os.O_RDONLY)
    try:
        with contextlib.closing(walk.open_at(fd, b"d/sub/one")) as opened:
            assert opened.read() == b"one"
        for path in (b"l", b"dirlink/sub/one"):
            with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
                walk.open_at(fd, path)
        os.mkfifo(root / "pipe")
        with pytest.raises(errors.LayerError, match="'pipe' is no regular file"):
            walk.open_at(fd, b"pipe")
    finally:
        os.close(fd)


def test_a_step_that_wrote_many_files_takes_few_bytes_for_each(tmp_path: Path) -> None:
    count = 5000
    for number in range(count):
        (tmp_path / f"{number:020}").touch()
    assert apart(lambda: _held(tmp_path, count)) / count < 300


def _held(root: Path, count: int) -> int:
    """Bytes that are in use when so many changes were found."""
    tracemalloc.start()
    try:
        changed, _ = diff.diff_walk(root, Merged())
        assert len(changed) == count
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    root, _ = base(tmp_path)
    (root / "d/sub").chmod(0o111)
    with pytest.raises(errors.LayerError, match="'d/sub' cannot be read"):
        list(walk.walk(root))
    (root / "d/sub").chmod(0o755)


def test_a_tree_deeper_than_linux_names_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(errors.LayerError, match="longer than the 4096 bytes"):
        list(walk.walk(tmp_path))
    with pytest.raises(errors.LayerError, match="longer than the 4096 bytes"):
        diff.diff_walk(tmp_path, Merged())
    os.system(f"rm -r {tmp_path / 'd'}")
