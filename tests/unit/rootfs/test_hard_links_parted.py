"""Files of several names, made files of one name each."""

from __future__ import annotations

import os
from pathlib import Path

from strata_builder.layers import folders
from strata_builder.rootfs import hardlinks


def part(root: Path, *names: bytes) -> None:
    with folders.Folders(root) as tree:
        for name in names:
            hardlinks.part(tree, name)


def test_a_name_gets_a_file_of_its_own_with_all_that_the_other_has(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "d/two"
    two.parent.mkdir()
    one.write_bytes(b"content")
    one.chmod(0o640)
    os.setxattr(one, "user.colour", b"blue")
    os.utime(one, ns=(5, 1_234_567_890_123))
    two.hardlink_to(one)
    os.utime(two.parent, ns=(7, 7))
    part(tmp_path, b"d/two")
    assert (one.stat().st_nlink, two.stat().st_nlink) == (1, 1)
    assert two.read_bytes() == b"content"
    assert (two.stat().st_mode, two.stat().st_mtime_ns) == (one.stat().st_mode, 1_234_567_890_123)
    assert os.getxattr(two, "user.colour") == b"blue"
    assert two.parent.stat().st_mtime_ns == 7


def test_the_last_name_of_a_file_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    inode = (tmp_path / "b").stat().st_ino
    part(tmp_path, b"a", b"b", b"link")
    assert (tmp_path / "b").stat().st_ino == inode
    assert (tmp_path / "link").is_symlink()


def test_holes_stay_holes(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    (tmp_path / "copy").hardlink_to(sparse)
    part(tmp_path, b"copy")
    copy = tmp_path / "copy"
    assert copy.stat().st_size == 64 << 20
    assert copy.stat().st_blocks * 512 < 1 << 20
    with copy.open("rb") as file:
        file.seek(32 << 20)
        assert file.read(6) == b"middle"
