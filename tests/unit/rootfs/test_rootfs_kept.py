"""Unpacked layers that later builds find again: only whole ones, only one's own, and none that is in use goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder.layers.recorded import Skipped
from strata_builder.rootfs import kept, lowers
from support.layertrees import file, folder, tree_of
from support.sandboxes import LocalBlobs

UNSET = (Skipped(b"dev/\xff", "device", "Operation not permitted"),)


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    return tmp_path / "layers"


@pytest.fixture(name="store")
def _store(place: Path) -> Iterator[kept.Folder]:
    made = kept.Folder(place)
    yield made
    made.close()


def keep(store: kept.Folder, key: str, content: str = "", size: int = 10) -> Path:
    place = store.place()
    assert place is not None
    (place / "f").write_text(content or key)
    return store.keep(key, place, UNSET, size)


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_what_was_kept_is_found_by_the_next_build(place: Path, store: kept.Folder) -> None:
    path = keep(store, "a")
    assert store.find("a") == kept.Found(path, UNSET)
    assert (path / "f").read_text() == "a"
    store.close()
    assert kept.Folder(place).find("a") == kept.Found(path, UNSET)
    assert kept.Folder(place).find("b") is None
    assert place.stat().st_mode & 0o777 == 0o700


def test_nothing_is_found_before_it_is_whole(place: Path, store: kept.Folder) -> None:
    assert store.place() is not None
    assert kept.Folder(place).find("") is None
    assert len(names(place)) == 1


def test_what_a_build_left_unfinished_goes_once_it_is_over(place: Path) -> None:
    code = "from strata_builder.rootfs import kept; from pathlib import Path; import os, sys\n"
    code += "kept.Folder(Path(sys.argv[1])).place(); print(); sys.stdout.flush(); sys.stdin.read(); os._exit(1)"
    with subprocess.Popen([sys.executable, "-c", code, place], stdin=-1, stdout=-1) as other:
        assert other.stdin is not None and other.stdout is not None  # noqa: PT018
        other.stdout.readline()
        kept.Folder(place).prune(100, 1)
        assert len(names(place)) == 1
        other.stdin.close()
        other.wait()
    kept.Folder(place).prune(100, 1)
    assert names(place) == set()


def test_of_two_builds_at_once_each_has_its_own_and_one_is_kept(place: Path, store: kept.Folder) -> None:
    first, second = kept.Folder(place), store
    ours, theirs = second.place(), first.place()
    assert ours is not None and theirs is not None  # noqa: PT018
    assert first.keep("a", theirs, (), 1) != theirs
    (ours / "still").touch()
    assert second.keep("a", ours, (), 1) == ours
    first.prune(0, 1)
    assert (ours / "still").exists()
    second.close()
    first.prune(1, 1)
    assert len(names(place)) == 1
    first.close()


def test_what_is_not_this_users_alone_is_neither_used_nor_added_to(place: Path) -> None:
    made = kept.Folder(place)
    keep(made, "a")
    made.close()
    place.chmod(0o755)
    other = kept.Folder(place)
    assert other.find("a") is None
    assert other.place() is None
    other.prune(0, 0)
    assert len(names(place)) == 1


def test_a_link_to_a_folder_is_none(tmp_path: Path, place: Path) -> None:
    keep(kept.Folder(tmp_path / "others"), "a")
    place.symlink_to(tmp_path / "others")
    assert kept.Folder(place).find("a") is None


def test_what_was_not_used_for_longest_goes_first_and_what_is_in_use_not_at_all(
    place: Path, store: kept.Folder
) -> None:
    paths = {key: keep(store, key) for key in "abcd"}
    store.close()
    for age, key in enumerate("abcd"):
        os.utime(paths[key].parent / "told.json", (time.time() - age * 60,) * 2)
    used = kept.Folder(place)
    assert used.find("d") is not None
    assert used.find("c") is not None
    used.close()
    holding = kept.Folder(place)
    assert holding.find("b") is not None
    os.utime(paths["b"].parent / "told.json", (0, 0))
    used.prune(25, 1)
    assert {key for key, path in paths.items() if path.exists()} == {"b", "c", "d"}
    holding.close()
    used.prune(25, 1)
    assert {key for key, path in paths.items() if path.exists()} == {"c", "d"}
    used.prune(25, 0)
    assert names(place) == set()


def test_of_a_disk_that_is_nearly_full_as_much_is_given_back_as_is_wanted(
    place: Path, store: kept.Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {key: keep(store, key, size=100) for key in "abcd"}
    for age, key in enumerate("abcd"):
        os.utime(paths[key].parent / "told.json", (time.time() - age * 60,) * 2)
    store.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 9_150, 850))  # type: ignore[attr-defined]
    store.prune(1000, 1)
    assert {key for key, path in paths.items() if path.exists()} == {"a", "b"}


@pytest.mark.parametrize("told", [b"", b"{}", b"[]", b'{"boot": 1, "size": "x", "unset": []}', b"\xff"])
def test_a_damaged_one_is_as_good_as_none(place: Path, store: kept.Folder, told: bytes) -> None:
    (keep(store, "a").parent / "told.json").write_bytes(told)
    assert store.find("a") is None
    store.close()
    store.prune(100, 1)
    assert names(place) == set()


def test_what_was_made_before_the_machine_started_is_not_used(place: Path, store: kept.Folder) -> None:
    path = keep(store, "a").parent / "told.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "an earlier one"}))
    assert store.find("a") is None
    store.close()
    store.prune(100, 1)
    assert names(place) == set()


def test_a_later_build_unpacks_only_what_is_new(tmp_path: Path, place: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    layers = [blobs.must_add([folder("d"), file("d/a", b"a")]), blobs.must_add([file("d/b", b"b")])]
    new = blobs.must_add([file("d/c", b"c")])
    seen = []
    for number, row in enumerate((layers, [*layers, new], [layers[1]])):
        store = kept.Folder(place)
        found = lowers.Lowers(tmp_path / str(number), blobs, store=store)
        seen.append([tree_of(lower.path) for lower in found.over((), row)])
        found.close()
        store.close()
    assert seen[1][:2] == seen[0]
    of_each = [layer.descriptor.digest for layer in (*layers, new, layers[1])]
    assert sorted(blobs.opened) == sorted(of_each), "the last one has nothing below it, so it is another"


def test_a_layer_that_is_to_have_the_present_time_is_made_anew(tmp_path: Path, place: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    layer = blobs.must_add([file("a", b"a", mtime=5)])
    made: list[lowers.Lower] = []
    times: list[float] = []
    for number in range(2):
        store = kept.Folder(place)
        found = lowers.Lowers(tmp_path / str(number), blobs, store=store)
        now = found.over((), [layer], {layer.descriptor.digest}) + found.over((), [layer])
        times += [(lower.path / "a").stat().st_mtime for lower in now]
        made += now
        found.close()
        store.close()
    assert times[1] == times[3] == 5
    assert min(times[0], times[2]) > 5
    assert made[1].path == made[3].path
